//! Whole files: replaces the values of chosen columns by tokens, or tokens by their values, and
//! leaves every other byte as it is. CSV and JSON Lines, in constant memory.
//!
//! 1. [`run`] checks the options, reads the header and, for a file that is begun anew, every row,
//!    so that a malformed row is found before anything is stored.
//! 2. Rows are gathered to a batch; its selected values go to the sidecar in one call, and the
//!    rows are written with the answers in place.
//! 3. From a path to a path, the output grows in `OUTPUT.lunasec-partial`. After each batch it is
//!    synced, and only then `OUTPUT.lunasec-progress` says so. A run that was killed goes on from
//!    there: batch boundaries depend on nothing but the input, the options and the offset, so the
//!    batch in flight is asked again with its old idempotency key and gets its old tokens.
//!    The sidecar remembers keys for [`lunasec_core::limits::IDEMPOTENCY_WINDOW`]. A run that is
//!    taken up later is still right, but the batch that was in flight may be stored twice.
//! 4. At the end the partial file is renamed to the output and the progress file removed.
//!
//! A run from standard input or to standard output cannot be resumed; [`Summary::resumable`] says
//! which it was.
//!
//! Rows are counted as a spreadsheet does: the header is row 1, blank rows count, a line break
//! inside quotes does not.

mod batch;
mod call;
mod checkpoint;
mod csv;
mod disk;
mod engine;
mod error;
mod guard;
mod head;
mod job;
mod json;
mod meter;
mod paths;
mod reading;
mod rows;
mod shape;
mod sink;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    future::Future,
    io::{Read, Write},
    path::PathBuf,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use zeroize::{Zeroize, ZeroizeOnDrop};

pub use self::{
    error::{FileError, Reason},
    meter::{Bar, Progress},
};

/// The sidecar's two batch calls, as the engine sees them.
pub trait Batches {
    /// Tokens in the order of the values. `key` is the idempotency key: the same key with the same
    /// values gives the same tokens, also after a crash.
    fn tokenize(
        &mut self,
        key: &str,
        values: &[Cell],
    ) -> impl Future<Output = Result<Vec<Result<String, ItemError>>, CallError>>;

    /// Values in the order of the tokens.
    fn detokenize(
        &mut self,
        tokens: &[String],
    ) -> impl Future<Output = Result<Vec<Result<Cell, ItemError>>, CallError>>;
}

/// The raw bytes of one value. On the wire it is text where it is UTF-8, else base64.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Cell(pub Vec<u8>);

impl fmt::Debug for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cell(…)")
    }
}

/// Why the sidecar refused one item of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemError {
    /// The stable code.
    pub code: String,
    /// What to tell a person.
    pub detail: String,
    /// Whether the same item may succeed later.
    pub retryable: bool,
}

/// Why a whole call failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CallError {
    /// The sidecar, or what it depends on, is away for now.
    #[error("{message}")]
    Unavailable {
        /// What to tell a person.
        message: String,
        /// How long the sidecar asked to wait.
        retry_after: Option<Duration>,
    },
    /// Asking again would not help.
    #[error("{message}")]
    Fatal {
        /// What to tell a person.
        message: String,
    },
}

/// Which way a file is turned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Values become tokens.
    Tokenize,
    /// Tokens become values.
    Detokenize,
}

/// Where rows come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A regular file.
    Path(PathBuf),
    /// Standard input: cannot be resumed.
    Stdin,
}

/// Where rows go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A file, which appears under its name only when it is complete.
    Path(PathBuf),
    /// Standard output: cannot be resumed.
    Stdout,
}

/// How rows are spelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// RFC 4180, and what real files do; cells are split at commas.
    Csv,
    /// The same, split at tabs.
    Tsv,
    /// One JSON value per line.
    JsonLines,
}

/// What to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which way.
    pub direction: Direction,
    /// The socket of the sidecar that is asked.
    pub sidecar: PathBuf,
    /// Where the values are.
    pub namespace: Option<String>,
    /// For whose session: a digest, for the progress file must not show it.
    pub session: Option<[u8; 32]>,
    /// From where.
    pub input: Source,
    /// To where.
    pub output: Target,
    /// Names of CSV columns, their numbers from 1 if there is no header, or dotted JSON paths.
    pub columns: Vec<String>,
    /// By the input's extension if absent; standard input has none, so it is required there.
    pub format: Option<Format>,
    /// What splits cells, in place of the format's own delimiter.
    pub delimiter: Option<u8>,
    /// Whether the first row names the columns.
    pub header: bool,
    /// Writes detokenized JSON strings in ASCII, other characters as `\uXXXX`.
    pub ascii: bool,
    /// Replaces an existing output, and begins anew over the traces of another run. An interrupted
    /// run of the same command is resumed all the same.
    pub force: bool,
    /// Most values per call, up to [`lunasec_core::limits::LIST_ITEMS`].
    pub batch_items: usize,
    /// Most bytes per call, up to [`lunasec_core::limits::BATCH_BYTES`].
    pub batch_bytes: usize,
}

/// What was done, over all runs that it took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Rows, without the header and blank ones.
    pub rows: u64,
    /// Values that were replaced.
    pub values: u64,
    /// Selected cells that were empty (or null) and stayed so. Missing ones are not counted.
    pub empty: u64,
    /// Rows in which none of the columns, or paths, is there at all.
    pub bare: u64,
    /// The row at which an interrupted run was taken up.
    pub resumed_at_row: Option<u64>,
    /// Whether this run could have been resumed: only from a path to a path.
    pub resumable: bool,
    /// How the replaced JSON strings will be spelled when they come back.
    pub spelling: Spelling,
}

/// JSON can spell one string in many ways, and a stored value does not remember its own. These are
/// the tokenized strings which would not come back byte for byte. The counts are disjoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spelling {
    /// Neither way of detokenizing restores them; they come back equal, but spelled otherwise.
    pub respelled: u64,
    /// Only with `--ascii` they come back byte for byte.
    pub needs_ascii: u64,
    /// Only without `--ascii` they come back byte for byte.
    pub needs_plain: u64,
}

/// Does what the options say. `entropy` fills the run's identifier, from which its idempotency
/// keys are made. Needs a Tokio runtime with timers, and blocks it while it reads and writes.
pub async fn run<B: Batches>(
    options: &Options,
    batches: &mut B,
    progress: &mut dyn Progress,
    entropy: &mut dyn FnMut(&mut [u8]),
) -> Result<Summary, FileError> {
    let retry = call::Retry::default();
    let host = engine::Host { disk: &mut disk::Local, progress, entropy, retry };
    engine::run(options, batches, host).await
}

/// The same for any stream into any other; the options' own input and output are not looked at. It
/// cannot be resumed.
pub async fn stream<B: Batches>(
    options: &Options,
    batches: &mut B,
    (input, output): (Box<dyn Read>, Box<dyn Write>),
    progress: &mut dyn Progress,
    entropy: &mut dyn FnMut(&mut [u8]),
) -> Result<Summary, FileError> {
    let retry = call::Retry::default();
    let host = engine::Host { disk: &mut disk::Local, progress, entropy, retry };
    engine::stream(options, (input, output), batches, host).await
}
