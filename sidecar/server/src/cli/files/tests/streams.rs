//! Standard input and output.

use std::io::{self, Write};

use super::{
    super::{
        Direction, FileError, Format, Options,
        engine::{Input, Output, turn},
        job::Job,
        paths::Paths,
        rows::Feed,
    },
    Local, PathBuf, Pieces, Sidecar, message, options, wait, with_host,
};

struct Closed;

impl Write for Closed {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn table() -> Options {
    options(Direction::Tokenize, Format::Csv, &["a"])
}

fn turn_to(output: Output) -> Result<bool, FileError> {
    let job = Job::new(&table()).unwrap();
    let feed = Feed::Stream(Box::new(Pieces { bytes: b"a\n1\n".to_vec(), at: 0, size: 9 }));
    let input = Input { feed, name: PathBuf::from("standard input"), known: None };
    let mut sidecar = Sidecar::default();
    let turned = with_host(&mut Local, |host| wait(turn(&job, input, output, &mut sidecar, host)));
    turned.map(|summary| summary.resumable)
}

#[test]
fn a_closed_reader_is_a_clean_error() {
    let error = turn_to(Output::Stream(Box::new(Closed))).unwrap_err();
    assert!(matches!(error, FileError::Closed));
}

#[test]
fn standard_input_needs_a_format() {
    let options = Options { format: None, ..table() };
    assert!(message(&options, b"a\n").contains("name the format"));
}

#[test]
fn standard_input_to_a_file_leaves_only_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let paths = Paths::new(&directory.path().join("out")).unwrap();
    let resumable = turn_to(Output::File { paths: paths.clone(), force: false }).unwrap();
    assert!(!resumable);
    assert_eq!(directory.path().read_dir().unwrap().count(), 1);
    let again = turn_to(Output::File { paths: paths.clone(), force: false }).unwrap_err();
    assert!(again.to_string().contains("pass --force to replace it"));
    turn_to(Output::File { paths, force: true }).unwrap();
}

#[test]
fn standard_input_does_not_take_the_place_of_an_interrupted_run() {
    let directory = tempfile::tempdir().unwrap();
    let paths = Paths::new(&directory.path().join("out")).unwrap();
    std::fs::write(&paths.progress, b"{}").unwrap();
    std::fs::write(&paths.partial, b"rows").unwrap();
    let refused = turn_to(Output::File { paths: paths.clone(), force: false }).unwrap_err();
    assert!(matches!(refused, FileError::Foreign { .. }));
    assert_eq!(std::fs::read(&paths.partial).unwrap(), b"rows");
    turn_to(Output::File { paths, force: true }).unwrap();
    assert_eq!(directory.path().read_dir().unwrap().count(), 1);
}
