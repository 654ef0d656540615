//! The options, checked.

use std::path::{Path, PathBuf};

use lunasec_core::limits;
use serde::{Deserialize, Serialize};

use super::{
    Direction, FileError, Format, Options, Source,
    checkpoint::hex,
    shape::{Fault, Place},
};

/// Everything that decides which bytes come out. An interrupted run is resumed only by the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Job {
    pub(super) direction: Direction,
    /// A token means nothing at another sidecar's store or in another namespace.
    pub(super) sidecar: PathBuf,
    pub(super) namespace: Option<String>,
    /// What one user was shown is not for another's run to go on with. A digest.
    pub(super) session: Option<String>,
    pub(super) format: Format,
    pub(super) delimiter: u8,
    pub(super) columns: Vec<String>,
    pub(super) header: bool,
    pub(super) ascii: bool,
    pub(super) batch_items: usize,
    pub(super) batch_bytes: usize,
}

impl Job {
    /// Checks what can be checked without the input.
    pub(super) fn new(options: &Options) -> Result<Self, FileError> {
        let format = format(options)?;
        let delimiter = delimiter(options.delimiter, format)?;
        if options.columns.is_empty() {
            return Err(usage("name at least one column"));
        }
        if !(1..=limits::LIST_ITEMS).contains(&options.batch_items) {
            return Err(usage("a batch has 1 to 1,000 items"));
        }
        if !(1..=limits::BATCH_BYTES).contains(&options.batch_bytes) {
            return Err(usage("a batch has 1 byte to 16 MiB"));
        }
        Ok(Self {
            direction: options.direction,
            sidecar: options.sidecar.clone(),
            namespace: options.namespace.clone(),
            session: options.session.map(|digest| hex(&digest)),
            format,
            delimiter,
            columns: options.columns.clone(),
            header: options.header,
            ascii: options.ascii,
            batch_items: options.batch_items,
            batch_bytes: options.batch_bytes,
        })
    }

    /// Tells where `fault` is.
    pub(super) fn row_error(&self, row: u64, fault: Fault) -> FileError {
        let column = match fault.place {
            Place::Row => None,
            Place::Selected(column) => Some(self.columns[column].clone()),
            Place::Number(number) => Some(number.to_string()),
        };
        FileError::Row { row, column, reason: fault.reason }
    }
}

/// For the many mistakes that options can have.
pub(super) fn usage(message: impl Into<String>) -> FileError {
    FileError::Usage(message.into())
}

fn format(options: &Options) -> Result<Format, FileError> {
    match (options.format, &options.input) {
        (Some(format), _) => Ok(format),
        (None, Source::Stdin) => Err(usage("standard input has no extension: name the format")),
        (None, Source::Path(path)) => by_extension(path).ok_or_else(|| {
            usage(format!(
                "the format of {} is not known by its extension (.csv, .tsv, .jsonl, .ndjson): \
                 name it",
                path.display()
            ))
        }),
    }
}

fn by_extension(path: &Path) -> Option<Format> {
    match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
        "csv" => Some(Format::Csv),
        "tsv" => Some(Format::Tsv),
        "jsonl" | "ndjson" => Some(Format::JsonLines),
        _ => None,
    }
}

/// A delimiter that a token could contain would change how the token's cell is quoted, and so the
/// bytes that come back.
fn delimiter(asked: Option<u8>, format: Format) -> Result<u8, FileError> {
    let delimiter = asked.unwrap_or(if format == Format::Tsv { b'\t' } else { b',' });
    let in_token = delimiter.is_ascii_alphanumeric() || delimiter == b'-';
    if in_token || !delimiter.is_ascii() || matches!(delimiter, b'"' | b'\r' | b'\n') {
        return Err(usage(
            "a delimiter is one ASCII character, and no letter, digit, hyphen, quote or line break",
        ));
    }
    Ok(delimiter)
}
