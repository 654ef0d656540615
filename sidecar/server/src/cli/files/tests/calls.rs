//! What happens when the sidecar does not simply answer.

use super::{
    super::{Direction, FileError, Format, Options},
    Sidecar, back,
    fake::{Script, away, passing, refusal},
    options, stream,
};

fn small(items: usize) -> Options {
    Options {
        batch_items: items,
        header: false,
        ..options(Direction::Tokenize, Format::Csv, &["1", "2"])
    }
}

const ROWS: &[u8] = b"a,b\nc,d\n,\ne,f\ng,h";

#[test]
fn batches_hold_whole_rows_up_to_their_limits() {
    for (items, calls) in [(1, vec![1; 8]), (3, vec![2; 4]), (4, vec![4, 4]), (100, vec![8])] {
        let mut sidecar = Sidecar::default();
        stream(&small(items), &mut sidecar, ROWS).unwrap();
        assert_eq!(sidecar.calls(), calls);
    }
    let mut sidecar = Sidecar::default();
    stream(&Options { batch_bytes: 100, ..small(100) }, &mut sidecar, ROWS).unwrap();
    assert_eq!(sidecar.calls(), [2, 2, 2, 2]);
}

#[test]
fn passing_failures_are_asked_again_and_store_nothing_twice() {
    let mut sidecar = Sidecar::default();
    sidecar.script([
        away(),
        Script::FailOne(1, passing("storage_unavailable")),
        Script::FailFrom(3, passing("rate_limited")),
    ]);
    let (tokens, _) = stream(&small(4), &mut sidecar, ROWS).unwrap();
    assert_eq!((sidecar.stored(), sidecar.calls()), (8, vec![4, 4, 4, 4, 4]));
    sidecar.script([away(), Script::FailOne(0, passing("rate_limited")), away()]);
    assert_eq!(stream(&back(&small(4)), &mut sidecar, &tokens).unwrap().0, ROWS);
}

#[test]
fn gives_up_after_a_bounded_number_of_attempts() {
    let mut sidecar = Sidecar::default();
    sidecar.script(std::iter::repeat_with(away).take(9));
    let error = stream(&small(4), &mut sidecar, ROWS).unwrap_err();
    assert!(matches!(error, FileError::Unavailable { attempts: 4, resumable: false, .. }));
    assert_eq!(sidecar.calls().len(), 4);
}

#[test]
fn a_refused_item_is_named() {
    let mut sidecar = Sidecar::default();
    sidecar.script([
        Script::FailOne(0, passing("overloaded")),
        Script::FailFrom(3, refusal("forbidden")),
    ]);
    let error = stream(&small(100), &mut sidecar, ROWS).unwrap_err();
    let expected = "row 2, column 2: no such record (forbidden); this run cannot be resumed";
    assert_eq!(error.to_string(), expected);
    assert_eq!(sidecar.calls().len(), 2);
}

#[test]
fn rows_are_counted_across_batches() {
    for (calls, items, expected) in [(2, 2, "row 4, column 1"), (1, 4, "row 4, column 1")] {
        let mut sidecar = Sidecar::default();
        let works = || Script::FailFrom(usize::MAX, refusal(""));
        let refuses = Script::FailOne(0, refusal("forbidden"));
        sidecar.script(std::iter::repeat_with(works).take(calls).chain([refuses]));
        let error = stream(&small(items), &mut sidecar, ROWS).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn a_refusal_that_will_not_pass_stops_at_once() {
    let mut sidecar = Sidecar::default();
    let (tokens, _) = stream(&small(100), &mut sidecar, ROWS).unwrap();
    sidecar
        .script([Script::FailOne(2, refusal("expired")), Script::FailOne(0, refusal("expired"))]);
    let error = stream(&back(&small(100)), &mut sidecar, &tokens).unwrap_err().to_string();
    assert!(error.starts_with("row 2, column 1: no such record (expired)"), "{error}");
}

#[test]
fn answers_that_break_the_contract_stop_the_run() {
    for script in [Script::Short, Script::Nonsense] {
        let sidecar = Sidecar::default();
        sidecar.script([script]);
        let error = stream(&small(100), &mut sidecar.clone(), ROWS).unwrap_err();
        assert!(matches!(error, FileError::Refused { .. }), "{error}");
    }
}

#[test]
fn an_answer_that_is_cut_short_is_asked_for_in_parts() {
    let mut sidecar = Sidecar::default();
    let (tokens, _) = stream(&small(100), &mut sidecar, ROWS).unwrap();
    for code in ["payload_too_large", "rate_limited"] {
        sidecar.script([
            Script::FailFrom(3, passing(code)),
            Script::FailFrom(0, passing(code)),
            Script::FailFrom(2, passing(code)),
        ]);
        assert_eq!(stream(&back(&small(100)), &mut sidecar, &tokens).unwrap().0, ROWS);
    }
    sidecar.script([Script::FailFrom(0, refusal("payload_too_large"))]);
    assert_eq!(stream(&back(&small(100)), &mut sidecar, &tokens).unwrap().0, ROWS);
}

#[test]
fn a_row_of_too_many_large_values_is_refused() {
    let mut sidecar = Sidecar::default();
    let token = sidecar.store(&vec![b'x'; 1 << 20]);
    let row = |count| format!("{{\"a\":[{}]}}", vec![format!("\"{token}\""); count].join(","));
    let options = options(Direction::Detokenize, Format::JsonLines, &["a"]);
    assert!(stream(&options, &mut sidecar, row(16).as_bytes()).is_ok());
    let one_each = Options { batch_items: 1, ..options };
    let error = stream(&one_each, &mut sidecar, row(20).as_bytes()).unwrap_err().to_string();
    assert!(error.contains("row 1: the row's values are larger than 16 MiB"), "{error}");
}
