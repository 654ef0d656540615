//! A run that is ended at every single step, and taken up again.

use std::{fs, path::PathBuf};

use tempfile::TempDir;

use super::{
    super::{Direction, FileError, Format, Options, Summary},
    between,
    fake::Sidecar,
    file,
    frail::{Caller, Frail, Fuse},
    options, stream,
};

/// BOM, header, CRLF and LF, quotes, line breaks in cells, empty and missing cells, a blank line,
/// the same value twice, no line break at the end.
const TABLE: &[u8] = b"\xef\xbb\xbfid,card,\"mail\"\r\n1,4111,a@b\r\n2,\"42\"\"42\",\"c\nd\"\n\
    3,,\"\"\r\n4,4111\r\n\r\n5,\xff\xfe,x\r6,\"4111\",a@b,more\n7,7,7\n8,8,8";

/// The third line has more values than a call may have.
const LINES: &[u8] =
    b"{\"a\": \"1\"}\n\n{ \"a\" : [\"2\", \"3\", \"4\", \"5\", \"6\", \"7\", \"8\"] }\r\n\
    {\"a\":null}\n{\"b\":1,\"a\":\"9\"}\n{\"a\":\"\\u00e9\"}";

/// An output that was there before.
const OLD: &[u8] = b"old";

/// How a process ends: its writes reach the disk all the same, or only what was synced does.
#[derive(Clone, Copy, Debug)]
enum End {
    Kill,
    PowerLoss,
    /// The same, but files that were removed last stay removed.
    PowerLossAfterRemovals,
}

const ENDS: [End; 3] = [End::Kill, End::PowerLoss, End::PowerLossAfterRemovals];

struct Scene {
    directory: TempDir,
    sidecar: Sidecar,
    options: Options,
}

impl Scene {
    fn new(options: &Options, input: &[u8], sidecar: &Sidecar) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("in"), directory.path().join("out"));
        fs::write(&from, input).unwrap();
        let options = between(options, &from, &to);
        Self { directory, sidecar: sidecar.clone(), options }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Runs up to a step; nothing if the run was over before.
    fn run_to(&self, step: u32, end: End) -> Option<FileError> {
        let fuse = Fuse::at(step);
        let mut disk = Frail::new(fuse.clone());
        let mut caller = Caller { sidecar: self.sidecar.clone(), fuse: fuse.clone() };
        let ended = file(&self.options, &mut caller, &mut disk);
        if !fuse.is_burnt() {
            ended.unwrap();
            return None;
        }
        match end {
            End::Kill => {}
            End::PowerLoss => disk.lose_power(false),
            End::PowerLossAfterRemovals => disk.lose_power(true),
        }
        Some(ended.unwrap_err())
    }

    fn run(&self) -> Summary {
        file(&self.options, &mut self.sidecar.clone(), &mut Frail::new(Fuse::at(u32::MAX))).unwrap()
    }

    /// Whether all that was missing was to say that it is done.
    fn is_done(&self) -> bool {
        let traces = ["out.lunasec-progress", "out.lunasec-partial"].map(|name| self.path(name));
        let output = fs::read(self.path("out")).ok();
        output.is_some_and(|output| output != OLD) && !traces.iter().any(|path| path.exists())
    }

    fn take_up(&self) -> Option<Summary> {
        (!self.is_done()).then(|| self.run())
    }

    /// The output, and that there is nothing else.
    fn output(&self) -> Vec<u8> {
        let mut names: Vec<_> =
            self.directory.path().read_dir().unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["in", "out"]);
        fs::read(self.path("out")).unwrap()
    }
}

fn small_batches(direction: Direction, format: Format, columns: &[&str]) -> Options {
    Options { batch_items: 3, ..options(direction, format, columns) }
}

/// Ends a tokenizing run at every step and, in the run after it, at every `stride`th step; then
/// compares what the last run made with what one run alone makes.
fn tokenizes_through_ends(options: &Options, input: &[u8], stride: u32) {
    let alone = Scene::new(options, input, &Sidecar::default());
    let whole = alone.run();
    for end in ENDS {
        for first in 0.. {
            let scene = Scene::new(options, input, &Sidecar::default());
            if scene.run_to(first, end).is_none() {
                assert!(first > 40, "a run has many steps, not {first}");
                break;
            }
            assert_is_like(&scene, &alone, &whole, input);
            for next in (first % stride..).step_by(stride as usize) {
                let scene = Scene::new(options, input, &Sidecar::default());
                scene.run_to(first, end).unwrap();
                if scene.is_done() || scene.run_to(next, end).is_none() {
                    break;
                }
                assert_is_like(&scene, &alone, &whole, input);
            }
        }
    }
}

/// Takes the run up and compares. The fake makes its tokens in a fixed order, so that the output
/// is the same to the byte.
fn assert_is_like(scene: &Scene, alone: &Scene, whole: &Summary, input: &[u8]) {
    if let Some(summary) = scene.take_up() {
        assert_eq!(Summary { resumed_at_row: None, ..summary }, *whole);
    }
    let output = scene.output();
    assert_eq!(output.escape_ascii().to_string(), alone.output().escape_ascii().to_string());
    assert_eq!(scene.sidecar.stored() as u64, whole.values, "nothing is stored twice");
    let back = Options { direction: Direction::Detokenize, ..scene.options.clone() };
    let (again, _) = stream(&back, &mut scene.sidecar.clone(), &output).unwrap();
    assert_eq!(again, input);
}

#[test]
fn a_table_is_tokenized_once_however_often_the_run_ends() {
    let options = small_batches(Direction::Tokenize, Format::Csv, &["mail", "card"]);
    tokenizes_through_ends(&options, TABLE, 11);
}

#[test]
fn a_row_of_many_calls_is_tokenized_once() {
    let options =
        Options { ascii: true, ..small_batches(Direction::Tokenize, Format::JsonLines, &["a"]) };
    tokenizes_through_ends(&options, LINES, 7);
}

#[test]
fn a_table_is_detokenized_through_every_end() {
    let tokenize = small_batches(Direction::Tokenize, Format::Csv, &["mail", "card"]);
    let mut sidecar = Sidecar::default();
    let (tokens, _) = stream(&tokenize, &mut sidecar, TABLE).unwrap();
    let options = Options { direction: Direction::Detokenize, ..tokenize };
    for end in ENDS {
        for step in 0.. {
            let scene = Scene::new(&options, &tokens, &sidecar);
            if scene.run_to(step, end).is_none() {
                break;
            }
            scene.take_up();
            assert_eq!(scene.output(), TABLE, "{end:?} {step}");
        }
    }
}

#[test]
fn an_empty_file_is_turned_through_every_end() {
    let options = small_batches(Direction::Tokenize, Format::JsonLines, &["a"]);
    for end in ENDS {
        for step in 0.. {
            let scene = Scene::new(&options, b"", &Sidecar::default());
            if scene.run_to(step, end).is_none() {
                break;
            }
            scene.take_up();
            assert_eq!(scene.output(), b"", "{end:?} {step}");
        }
    }
}

#[test]
fn a_run_over_an_old_output_is_resumed_by_the_same_command() {
    let options = Options {
        force: true,
        ..small_batches(Direction::Tokenize, Format::Csv, &["mail", "card"])
    };
    let alone = Scene::new(&options, TABLE, &Sidecar::default());
    let whole = alone.run();
    for step in 0.. {
        let scene = Scene::new(&options, TABLE, &Sidecar::default());
        fs::write(scene.path("out"), OLD).unwrap();
        if scene.run_to(step, End::Kill).is_none() {
            break;
        }
        assert_is_like(&scene, &alone, &whole, TABLE);
    }
}

#[test]
fn a_resumed_run_says_where_it_was_taken_up() {
    let options = small_batches(Direction::Tokenize, Format::Csv, &["card"]);
    let rows: Vec<_> = (0..40)
        .map(|step| {
            let scene = Scene::new(&options, TABLE, &Sidecar::default());
            scene.run_to(step, End::Kill);
            scene.take_up()?.resumed_at_row
        })
        .collect();
    assert_eq!(rows.first(), Some(&None));
    assert!(rows.contains(&Some(1)), "begun, but no row was done");
    assert!(rows.iter().flatten().any(|row| (2..10).contains(row)), "{rows:?}");
}
