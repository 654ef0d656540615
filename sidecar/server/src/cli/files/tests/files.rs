//! Paths: what is refused, who may read, what a later run goes on with.

use std::{
    fs,
    io::Write,
    os::unix::fs::{PermissionsExt, symlink},
    path::PathBuf,
};

use tempfile::TempDir;

use super::{
    super::{
        Batches, CallError, Cell, Direction, FileError, Format, ItemError, Options, Source,
        Summary, Target,
    },
    Local, Sidecar, between,
    fake::{Script, away, refusal},
    file, options,
};

const ROWS: &[u8] = b"a,b\n1,x\n2,y\n3,z\n";

struct Place {
    directory: TempDir,
    sidecar: Sidecar,
    options: Options,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let input = directory.path().join("in.CSV");
        fs::write(&input, ROWS).unwrap();
        let options = options(Direction::Tokenize, Format::Csv, &["b"]);
        let options = Options { format: None, batch_items: 1, ..options };
        let options = between(&options, &input, &directory.path().join("out"));
        Self { directory, sidecar: Sidecar::default(), options }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn run(&self, options: &Options) -> Result<Summary, FileError> {
        file(options, &mut self.sidecar.clone(), &mut Local)
    }

    /// Stops a run after its first row.
    fn interrupt(&self) {
        self.sidecar.script([Script::FailFrom(9, refusal("")), Script::FailFrom(0, refusal(""))]);
        assert!(matches!(self.run(&self.options), Err(FileError::Item { resumable: true, .. })));
    }

    fn refusal(&self, options: &Options) -> String {
        self.run(options).unwrap_err().to_string()
    }

    fn files(&self) -> usize {
        self.directory.path().read_dir().unwrap().count()
    }
}

#[test]
fn an_existing_output_is_replaced_only_by_force() {
    let place = Place::new();
    fs::write(place.path("out"), b"old").unwrap();
    assert!(place.refusal(&place.options).contains("exists; pass --force to replace it"));
    assert_eq!((place.files(), place.sidecar.calls().len()), (2, 0));
    place.run(&Options { force: true, ..place.options.clone() }).unwrap();
    assert!(fs::read(place.path("out")).unwrap().starts_with(b"a,b\n1,lunasec-"));
}

#[test]
fn the_input_is_never_an_output() {
    let place = Place::new();
    fs::hard_link(place.path("in.CSV"), place.path("twin")).unwrap();
    symlink(place.path("in.CSV"), place.path("link")).unwrap();
    fs::hard_link(place.path("in.CSV"), place.path("x.lunasec-partial")).unwrap();
    for name in ["in.CSV", "twin", "link", "x"] {
        let output = Target::Path(place.path(name));
        let options = Options { output, force: true, ..place.options.clone() };
        assert!(place.refusal(&options).contains("are the same file"), "{name}");
    }
    assert_eq!(fs::read(place.path("in.CSV")).unwrap(), ROWS);
}

#[test]
fn only_regular_files_are_read_and_replaced() {
    let place = Place::new();
    fs::create_dir(place.path("directory")).unwrap();
    symlink(place.path("nowhere"), place.path("link")).unwrap();
    for name in ["directory", "link"] {
        let output = Target::Path(place.path(name));
        let options = Options { output, force: true, ..place.options.clone() };
        assert!(place.refusal(&options).contains("is not a regular file"), "{name}");
    }
    let input = Source::Path(place.path("directory"));
    let options = Options { input, format: Some(Format::Csv), ..place.options.clone() };
    assert!(place.refusal(&options).contains("is not a regular file"));
    let options = Options { input: Source::Path(place.path("in.xls")), ..place.options.clone() };
    assert!(place.refusal(&options).contains("is not known by its extension"));
}

#[test]
fn a_link_in_the_partial_files_place_is_not_followed() {
    let place = Place::new();
    fs::write(place.path("victim"), b"precious").unwrap();
    symlink(place.path("victim"), place.path("out.lunasec-partial")).unwrap();
    assert!(place.refusal(&place.options).contains("cannot write"));
    assert_eq!(fs::read(place.path("victim")).unwrap(), b"precious");
}

#[test]
fn a_second_run_on_the_same_output_is_refused() {
    let place = Place::new();
    let other = fs::File::create(place.path("out.lunasec-partial")).unwrap();
    other.lock().unwrap();
    assert!(matches!(place.run(&place.options), Err(FileError::Busy(_))));
    drop(other);
    place.run(&place.options).unwrap();
}

#[test]
fn plaintext_is_readable_by_its_owner_only() {
    let place = Place::new();
    let mode = |name: &str| fs::metadata(place.path(name)).unwrap().permissions().mode() & 0o777;
    place.interrupt();
    assert_eq!(mode("out.lunasec-progress"), 0o600);
    place.run(&place.options).unwrap();
    assert_eq!(mode("out"), mode("in.CSV"), "as any new file");
    let back = between(&place.options, &place.path("out"), &place.path("back"));
    let back = Options { direction: Direction::Detokenize, format: Some(Format::Csv), ..back };
    fs::write(place.path("back.lunasec-partial"), b"left over, and open to all").unwrap();
    place.sidecar.script([away(), away(), away(), away()]);
    assert!(matches!(place.run(&back), Err(FileError::Unavailable { resumable: true, .. })));
    assert_eq!(mode("back.lunasec-partial"), 0o600);
    place.run(&back).unwrap();
    assert_eq!(mode("back"), 0o600);
    assert_eq!(fs::read(place.path("back")).unwrap(), ROWS);
}

#[test]
fn a_stopped_run_is_resumed_after_its_last_batch() {
    let place = Place::new();
    place.interrupt();
    assert_eq!(place.files(), 3);
    let summary = place.run(&place.options).unwrap();
    assert_eq!((summary.resumed_at_row, summary.rows, summary.values), (Some(3), 3, 3));
    assert_eq!((place.sidecar.stored(), place.files()), (3, 2));
}

#[test]
fn another_run_is_not_taken_up() {
    type Change = fn(&mut Options);
    let cases: [(Change, &str); 4] = [
        (|options| options.columns = vec!["a".to_owned()], "columns or other options differ"),
        (|options| options.batch_items = 2, "columns or other options differ"),
        (|options| options.direction = Direction::Detokenize, "it went the other way"),
        (|options| options.session = Some([8; 32]), "for another session or with another JWT"),
    ];
    for (change, why) in cases {
        let place = Place::new();
        place.interrupt();
        let mut options = place.options.clone();
        change(&mut options);
        let refusal = place.refusal(&options);
        assert!(refusal.contains(why) && refusal.contains("pass --force to begin anew"));
    }
}

#[test]
fn force_begins_anew_over_the_traces_of_another_run() {
    let place = Place::new();
    place.interrupt();
    let columns = vec!["a".to_owned()];
    let summary = place.run(&Options { columns, force: true, ..place.options.clone() }).unwrap();
    assert_eq!((summary.resumed_at_row, summary.values, place.files()), (None, 3, 2));
    assert!(fs::read(place.path("out")).unwrap().ends_with(b",z\n"));
}

#[test]
fn a_changed_input_or_a_cut_output_is_not_taken_up() {
    let place = Place::new();
    place.interrupt();
    fs::write(place.path("out.lunasec-partial"), b"a").unwrap();
    assert!(place.refusal(&place.options).contains("its partial output is missing or was cut"));
    fs::remove_file(place.path("out.lunasec-partial")).unwrap();
    assert!(place.refusal(&place.options).contains("its partial output is missing or was cut"));
    fs::write(place.path("in.CSV"), [ROWS, b"4,4\n"].concat()).unwrap();
    assert!(place.refusal(&place.options).contains("has been changed since"));
    fs::write(place.path("out.lunasec-progress"), b"{\"version\": 2}").unwrap();
    assert!(place.refusal(&place.options).contains("its progress cannot be read"));
    place.run(&Options { force: true, ..place.options.clone() }).unwrap();
}

/// A sidecar whose every call finds the input longer.
struct Meddler(Sidecar, PathBuf);

impl Batches for Meddler {
    async fn tokenize(&mut self, key: &str, values: &[Cell]) -> Answer<String> {
        let mut input = fs::OpenOptions::new().append(true).open(&self.1).unwrap();
        input.write_all(b"9,late\n").unwrap();
        self.0.tokenize(key, values).await
    }

    async fn detokenize(&mut self, _: &[String]) -> Answer<Cell> {
        unreachable!("nothing here goes the other way")
    }
}

type Answer<T> = Result<Vec<Result<T, ItemError>>, CallError>;

#[test]
fn an_input_that_grows_is_noticed_and_its_new_rows_are_not_sent() {
    let place = Place::new();
    let mut meddler = Meddler(place.sidecar.clone(), place.path("in.CSV"));
    let error = file(&place.options, &mut meddler, &mut Local).unwrap_err();
    assert!(matches!(error, FileError::Changed));
    assert_eq!(place.sidecar.stored(), 3);
    assert!(!place.path("out").exists());
}

#[test]
fn a_malformed_row_is_found_before_anything_is_stored() {
    let place = Place::new();
    fs::write(place.path("in.CSV"), [ROWS, b"4,\"x\"y\n"].concat()).unwrap();
    assert!(place.refusal(&place.options).contains("row 5, column b"));
    assert_eq!((place.sidecar.calls().len(), place.files()), (0, 1));
}

#[test]
fn progress_and_errors_hold_no_values() {
    let place = Place::new();
    fs::write(place.path("in.CSV"), b"a,b\n1,secret-1\n2,secret-2\n").unwrap();
    place.interrupt();
    let progress = fs::read_to_string(place.path("out.lunasec-progress")).unwrap();
    assert!(!progress.contains("secret") && !progress.contains("lunasec-"));
    fs::write(place.path("in.CSV"), b"a,b\n1,\"secret\"3\n").unwrap();
    let options = Options { output: Target::Path(place.path("other")), ..place.options.clone() };
    let error = place.run(&options).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("secret"));
    assert_eq!(format!("{:?}", super::super::Cell(b"secret".to_vec())), "Cell(…)");
}
