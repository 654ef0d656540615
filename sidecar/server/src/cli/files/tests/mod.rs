//! What the tests share: a sidecar in memory, a disk that fails, and short ways to run.

mod calls;
mod crash;
mod csv;
mod fake;
mod files;
mod frail;
mod jsonl;
mod sample;
mod streams;

use std::{
    cell::RefCell,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    rc::Rc,
    time::Duration,
};

use self::fake::Sidecar;
use super::{
    Batches, Direction, FileError, Format, Options, Progress, Source, Summary, Target,
    call::Retry,
    disk::{Disk, Local},
    engine::{self, Host, run},
};

/// Reports nothing.
struct Silent;

impl Progress for Silent {
    fn checking(&mut self, _: u64, _: Option<u64>) {}
    fn at(&mut self, _: u64, _: Option<u64>, _: u64) {}
    fn done(&mut self) {}
}

/// Gives its bytes in pieces.
struct Pieces {
    bytes: Vec<u8>,
    at: usize,
    size: usize,
}

impl Read for Pieces {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let rest = &self.bytes[self.at..];
        let length = rest.len().min(into.len()).min(self.size);
        into[..length].copy_from_slice(&rest[..length]);
        self.at += length;
        Ok(length)
    }
}

#[derive(Clone, Default)]
struct Shared(Rc<RefCell<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const NO_PAUSES: Retry = Retry {
    attempts: 4,
    first: Duration::ZERO,
    longest: Duration::ZERO,
    longest_asked: Duration::ZERO,
};

fn options(direction: Direction, format: Format, columns: &[&str]) -> Options {
    Options {
        direction,
        sidecar: "lunasec.sock".into(),
        namespace: None,
        session: None,
        input: Source::Stdin,
        output: Target::Stdout,
        columns: columns.iter().map(ToString::to_string).collect(),
        format: Some(format),
        delimiter: None,
        header: true,
        ascii: false,
        force: false,
        batch_items: 100,
        batch_bytes: 100_000,
    }
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

/// Turns bytes as a stream.
fn stream<B: Batches>(
    options: &Options,
    batches: &mut B,
    bytes: &[u8],
) -> Result<(Vec<u8>, Summary), FileError> {
    stream_in_pieces(options, batches, bytes, usize::MAX)
}

fn stream_in_pieces<B: Batches>(
    options: &Options,
    batches: &mut B,
    bytes: &[u8],
    size: usize,
) -> Result<(Vec<u8>, Summary), FileError> {
    let input = Pieces { bytes: bytes.to_vec(), at: 0, size };
    let out = Shared::default();
    let ends: (Box<dyn Read>, Box<dyn Write>) = (Box::new(input), Box::new(out.clone()));
    let summary = with_host(&mut Local, |host| wait(engine::stream(options, ends, batches, host)))?;
    Ok((out.0.take(), summary))
}

/// Turns a file.
fn file<B: Batches>(
    options: &Options,
    batches: &mut B,
    disk: &mut dyn Disk,
) -> Result<Summary, FileError> {
    with_host(disk, |host| wait(run(options, batches, host)))
}

fn with_host<T>(disk: &mut dyn Disk, act: impl FnOnce(Host<'_>) -> T) -> T {
    thread_local!(static NEXT: RefCell<u8> = const { RefCell::new(0) });
    let mut entropy = |bytes: &mut [u8]| {
        NEXT.with_borrow_mut(|next| {
            *next = next.wrapping_add(1);
            bytes.fill(*next);
        })
    };
    act(Host { disk, progress: &mut Silent, entropy: &mut entropy, retry: NO_PAUSES })
}

fn between(options: &Options, input: &Path, output: &Path) -> Options {
    let (input, output) = (Source::Path(input.to_owned()), Target::Path(output.to_owned()));
    Options { input, output, ..options.clone() }
}

/// The same options the other way round.
fn back(options: &Options) -> Options {
    Options { direction: Direction::Detokenize, ..options.clone() }
}

/// Tokenizes and detokenizes, in pieces of both kinds, and gives back the tokenized bytes.
fn round_trip(options: &Options, bytes: &[u8]) -> (Vec<u8>, Summary) {
    let mut sidecar = Sidecar::default();
    let (tokenized, summary) = stream(options, &mut sidecar, bytes).unwrap();
    assert_eq!(sidecar.stored() as u64, summary.values);
    let (again, _) = stream_in_pieces(&back(options), &mut sidecar, &tokenized, 1).unwrap();
    assert_eq!(again.escape_ascii().to_string(), bytes.escape_ascii().to_string());
    (tokenized, summary)
}

fn message(options: &Options, bytes: &[u8]) -> String {
    stream(options, &mut Sidecar::default(), bytes).unwrap_err().to_string()
}
