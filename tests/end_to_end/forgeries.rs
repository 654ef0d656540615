//! What `lunasec audit verify` finds in files that somebody has worked over, and what it takes that a kill leaves.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use lunasec_core::audit::{Chain, ChainId, Line, RESUME, hex, push_hex};
use lunasec_tests::{Sidecar, sidecar::lunasec};
use tempfile::TempDir;

/// Lines of a chain: each says what it likes, and `resumed` ones where they come from.
fn chain(id: u8, count: u64, resumed: &[u64], time: impl Fn(u64) -> &'static str) -> Vec<String> {
    let mut chain = Chain::new(ChainId([id; 16]));
    let line = |number| {
        let (mut line, head) = (Vec::new(), *chain.head());
        chain.add(&mut line, |line| {
            if resumed.contains(&number) {
                line.extend_from_slice(RESUME.as_bytes());
                push_hex(line, &head);
                line.push(b'"');
            }
            let time = time(number);
            line.extend_from_slice(format!(",\"time\":\"{time}\",\"n\":{number}").as_bytes());
        });
        String::from_utf8(line).unwrap()
    };
    (0..count).map(line).collect()
}

struct Files {
    here: TempDir,
}

impl Files {
    fn new() -> Self {
        Self { here: tempfile::tempdir().unwrap() }
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.here.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

fn run(mut command: Command) -> Result<String, String> {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    match output.status.code() {
        Some(0) => Ok(text(output.stdout) + &text(output.stderr)),
        Some(1) => Err(text(output.stderr)),
        other => panic!("ended with {other:?}: {}", text(output.stderr)),
    }
}

fn verify(files: &[PathBuf]) -> Result<String, String> {
    let mut command = lunasec();
    command.args(["audit", "verify"]).args(files);
    run(command)
}

fn compare(directory: &Path, arguments: &[&str], files: &[PathBuf]) -> Result<String, String> {
    let mut command = lunasec();
    command.args(["audit", "verify", "--config"]).arg(directory.join("lunasec.toml"));
    command.args(arguments).args(files);
    run(command)
}

fn noon(_: u64) -> &'static str {
    "2026-01-02T12:00:00.000Z"
}

#[test]
fn lines_that_were_put_in_again_are_named_and_a_sink_that_began_again_is_not() {
    let files = Files::new();
    let lines = chain(1, 8, &[], noon);
    let of = |places: &[usize]| {
        let text: String = places.iter().map(|at| lines[*at].as_str()).collect();
        verify(&[files.write("audit.jsonl", &text)])
    };
    // Cut off behind 4, and once more behind 3; the last one goes on.
    assert!(of(&[0, 1, 2, 3, 4, 2, 3, 2, 3, 4, 5, 6, 7]).is_ok());
    let inserted = "line 2 there should be followed by line 3";
    for (places, line) in [
        (vec![0, 1, 2, 3, 4, 2, 5, 6, 7], 7),
        (vec![0, 1, 2, 3, 4, 2, 2, 2, 5, 6, 7], 9),
        (vec![0, 1, 2, 3, 4, 2, 4, 5, 6, 7], 7),
    ] {
        let said = of(&places).unwrap_err();
        assert!(said.contains(&format!("audit.jsonl, line {line}: ")), "{said}");
        assert!(said.contains(inserted), "{said}");
    }
}

#[test]
fn a_line_that_a_kill_has_cut_off_is_told_from_one_that_was_changed() {
    let files = Files::new();
    let lines = chain(1, 6, &[], noon);
    let whole: String = lines.concat();
    let half = &lines[4][..lines[4].len() / 2];
    let of = |text: &str| verify(&[files.write("audit.jsonl", text)]);
    let before: String = lines[..4].concat();
    // The end of a file, whose process did not come back.
    let said = of(&format!("{before}{half}")).unwrap();
    assert!(said.contains("ends in the middle of a line") && said.contains("4 lines"), "{said}");
    // One that came back and began again a little before.
    let again: String = lines[2..].concat();
    let said = of(&format!("{before}{half}\n{again}")).unwrap();
    assert!(said.contains("lines 0 to 5 are whole"), "{said}");
    // What does not come again was no cut.
    let said = of(&format!("{before}{half}\n{}", lines[5])).unwrap_err();
    assert!(said.contains("audit.jsonl, line 5: it is no line of an audit trail"), "{said}");
    let said = of(&format!("{before}{half}\n")).unwrap_err();
    assert!(said.contains("audit.jsonl, line 5: it is no line of an audit trail"), "{said}");
    let said = of(&whole.replace("\"n\":3", "\"n\":33")).unwrap_err();
    assert!(said.contains("audit.jsonl, line 4: its hash does not fit"), "{said}");
    let without_end = whole.replacen("\"}\n", "\"]\n", 3);
    let said = of(&without_end).unwrap_err();
    assert!(said.contains("audit.jsonl, line 1: it is no line of an audit trail"), "{said}");
}

#[test]
fn files_are_read_in_the_order_of_their_chains_whatever_clocks_said() {
    let files = Files::new();
    // The clock was set back while the second process ran.
    let set_back = |number| if number < 3 { noon(number) } else { "2026-01-02T11:00:00.000Z" };
    let (one, two) = (chain(1, 4, &[], noon), chain(2, 6, &[3], set_back));
    let first = files.write("one.jsonl", &(one.concat() + &two[..3].concat()));
    let second = files.write("two.jsonl", &two[3..].concat());
    for order in [[first.clone(), second.clone()], [second, first]] {
        let said = verify(&order).unwrap();
        assert!(said.contains(&format!("chain {}: lines 0 to 5", hex(&[2; 16]))), "{said}");
    }
}

/// A sidecar's trail, and its anchors in storage.
struct Trail {
    files: Files,
    text: String,
}

impl Trail {
    fn new() -> Self {
        let files = Files::new();
        let here = files.here.path();
        let path = here.join("audit.jsonl").display().to_string();
        let extra = format!("[audit]\nsink = \"file\"\npath = \"{path}\"\n");
        for _ in 0..2 {
            let mut sidecar = Sidecar::serve_in(here, &extra);
            for _ in 0..4 {
                sidecar.tokenize("value");
            }
            sidecar.stop();
        }
        let text = fs::read_to_string(path).unwrap();
        Self { files, text }
    }

    fn here(&self) -> &Path {
        self.files.here.path()
    }

    fn chains(&self) -> [String; 2] {
        let begins: Vec<_> = self.text.lines().filter(|line| line.contains("\"begin\"")).collect();
        [0, 1].map(|at| begins[at].split('"').nth(5).unwrap().to_owned())
    }
}

/// The lines under another name, without those that are not wanted: what somebody writes who knows the form.
fn written_anew(lines: &[&str], keep: impl Fn(usize) -> bool) -> String {
    let (mut chain, mut text) = (Chain::new(ChainId([0xee; 16])), Vec::new());
    for (_, line) in lines.iter().enumerate().filter(|(at, _)| keep(*at)) {
        let members = line.split_once(",\"seq\":").unwrap().1;
        let members = &members[members.find(',').unwrap()..members.find(",\"hash\"").unwrap()];
        chain.add(&mut text, |line| line.extend_from_slice(members.as_bytes()));
    }
    String::from_utf8(text).unwrap()
}

#[test]
fn what_was_written_anew_under_a_name_of_its_own_is_found_by_its_lack_of_anchors() {
    let trail = Trail::new();
    let (here, lines) = (trail.here(), trail.text.lines().collect::<Vec<_>>());
    let says = |text: &str, arguments: &[&str]| {
        compare(here, arguments, &[trail.files.write("copy.jsonl", text)])
    };
    let said = says(&trail.text, &["--complete"]).unwrap();
    assert_eq!(said.matches("are whole").count(), 2, "{said}");
    let forged = written_anew(&lines[..6], |at| at != 2);
    assert!(verify(&[trail.files.write("forged.jsonl", &forged)]).is_ok(), "it is well made");
    let rest = lines[6..].join("\n") + "\n";
    // All of it, its beginning, and lines that never were beside those that are.
    for text in [&forged, &format!("{forged}{rest}"), &format!("{}{forged}", trail.text)] {
        let said = says(text, &[]).unwrap_err();
        assert!(said.contains("storage vouches for no line of chain eeee"), "{said}");
        assert!(says(text, &["--allow-unanchored"]).is_ok());
    }
    let said = says("", &[]).unwrap_err();
    assert!(said.contains("hold no line"), "{said}");
}

/// A line behind one that is there, under the name of its chain.
fn invented(last: &str, resumes: bool) -> String {
    let mut chain = Chain::behind(&Line::parse(last.as_bytes()).unwrap());
    let (mut text, head) = (Vec::new(), *chain.head());
    chain.add(&mut text, |line| {
        if resumes {
            line.extend_from_slice(RESUME.as_bytes());
            push_hex(line, &head);
            line.push(b'"');
        }
        line.extend_from_slice(b",\"op\":\"detokenize\",\"code\":\"ok\",\"client\":\"mallory\"");
    });
    String::from_utf8(text).unwrap()
}

#[test]
fn nothing_is_added_to_a_chain_that_has_ended_nor_invented_under_its_name() {
    let trail = Trail::new();
    let (here, lines) = (trail.here(), trail.text.lines().collect::<Vec<_>>());
    let says = |text: &str| compare(here, &[], &[trail.files.write("copy.jsonl", text)]);
    assert!(says(&trail.text).is_ok());
    for last in [lines[5], lines[11]] {
        let said = says(&format!("{}{}", trail.text, invented(last, false))).unwrap_err();
        assert!(said.contains("line 13: its chain had ended"), "{said}");
    }
    // Alone, as if it came behind files that are elsewhere.
    let said = says(&invented(lines[11], true)).unwrap_err();
    assert!(said.contains("storage vouches for no line of chain"), "{said}");
    // A process that was killed is ended by the next one.
    let path = here.join("audit.jsonl");
    let extra = format!("[audit]\nsink = \"file\"\npath = \"{}\"\n", path.display());
    let mut sidecar = Sidecar::serve_in(here, &extra);
    sidecar.tokenize("value");
    sidecar.kill();
    Sidecar::serve_in(here, &extra).stop();
    let text = fs::read_to_string(path).unwrap();
    let ends: Vec<_> = text.lines().filter(|line| line.contains("\"event\":\"end\"")).collect();
    assert_eq!(ends.len(), 4, "{text}");
    assert!(says(&text).is_ok());
    let said = says(&format!("{text}{}", invented(ends[2], false))).unwrap_err();
    assert!(said.contains("its chain had ended"), "{said}");
}

/// What a reader of files has to bear, whoever wrote them.
#[test]
fn pieces_without_end_are_read_in_a_moment_and_named() {
    let files = Files::new();
    let whole = chain(1, 3, &[], noon).concat();
    let blank = format!("{}{whole}", "\n".repeat(200_000));
    assert!(verify(&[files.write("blank.jsonl", &blank)]).is_ok());
    let same = format!("{}{whole}", "{\n".repeat(200_000));
    assert!(verify(&[files.write("same.jsonl", &same)]).is_ok());
    let pieces: String =
        (0..200_000).map(|at| format!("{{\"v\":1,\"chain\":\"{at:032}\n")).collect();
    let said = verify(&[files.write("pieces.jsonl", &(pieces + &whole))]).unwrap_err();
    assert!(said.contains("pieces.jsonl, line 1: it is no line of an audit trail"), "{said}");
}

#[test]
fn what_is_missing_is_said_and_refused_where_all_is_demanded() {
    let trail = Trail::new();
    let (here, [first, _]) = (trail.here(), trail.chains());
    let lines: Vec<_> = trail.text.lines().collect();
    let second = lines[6..].join("\n") + "\n";
    let path = trail.files.write("copy.jsonl", &second);
    let said = compare(here, &[], std::slice::from_ref(&path)).unwrap();
    assert!(said.contains("of 1 more chains that storage has anchors of"), "{said}");
    let said = compare(here, &["--complete"], &[path]).unwrap_err();
    assert!(said.contains(&format!("anchors of chain {first}, and no file")), "{said}");
}
