//! What the first ten minutes show.

use lunasec_tests::Sidecar;

#[test]
fn started_again_it_finds_the_old_tokens() {
    let directory = tempfile::tempdir().unwrap();
    let mut first = Sidecar::dev_in(directory.path());
    assert!(first.log().contains("made a new store and key"), "{}", first.log());
    let token = first.tokenize("4111 1111 1111 1111");
    first.stop();
    let second = Sidecar::dev_in(directory.path());
    assert!(second.log().contains("found the store and key"), "{}", second.log());
    assert_eq!(second.detokenize(&token).json()["value"], "4111 1111 1111 1111");
}

#[test]
fn the_line_it_prints_works_as_it_stands() {
    let sidecar = Sidecar::dev();
    let log = sidecar.log();
    let line = log.split("terminal:\n").nth(1).and_then(|rest| rest.split("\n\n").next()).unwrap();
    let output = std::process::Command::new("sh").arg("-c").arg(line).output().unwrap();
    let answer = String::from_utf8(output.stdout).unwrap();
    assert!(answer.starts_with(r#"{"token":"lunasec-"#), "{line}: {answer}");
    assert!(answer.contains(r#""durability":"stored""#), "{answer}");
}
