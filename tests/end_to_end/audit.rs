//! The audit trail of the release binary: what it records, what outlives a kill, sinks that take nothing, and what
//! `lunasec audit` proves of the files.

use std::{
    collections::HashSet,
    fs::{self, OpenOptions},
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{Child, Output, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use lunasec_api::grpc as api;
use lunasec_tests::{
    Grpc, Sidecar,
    raw::{Answer, Raw, head},
    sidecar::{eventually, lunasec, unknown_token},
};
use serde_json::{Value, json};

/// To a file, with what is given beside.
fn to_file(directory: &Path, extra: &str) -> String {
    format!("[audit]\nsink = \"file\"\npath = \"{}/audit.jsonl\"\n{extra}", directory.display())
}

fn file(directory: &Path) -> PathBuf {
    directory.join("audit.jsonl")
}

fn records(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.collect()
}

/// The records of requests, once there are so many.
fn eventually_records(directory: &Path, count: usize) -> Vec<Value> {
    let of_requests = || {
        let mut records = records(&file(directory));
        records.retain(|record| record.get("op").is_some());
        records
    };
    eventually("the sink has them", || of_requests().len() >= count);
    of_requests()
}

fn audit(arguments: &[&str], input: &str, files: &[&Path]) -> Output {
    let mut command = lunasec();
    command.arg("audit").args(arguments).args(files);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn verify(directory: &Path, anchors: bool, files: &[&Path]) -> Result<String, String> {
    let config = directory.join("lunasec.toml").display().to_string();
    let arguments = if anchors { vec!["verify", "--config", &config] } else { vec!["verify"] };
    let output = audit(&arguments, "", files);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(text(&output.stderr)),
    }
}

#[test]
fn every_operation_and_item_leaves_a_record_that_holds_neither_token_nor_value_nor_session() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let mut sidecar = Sidecar::serve_in(here, &to_file(here, ""));
    let (value, session, purpose) = ("4111 1111 1111 1111", "alice@example.com", "support \"7\"");
    let token = sidecar.tokenize(value);
    let unknown = unknown_token();
    let headers = [("lunasec-session", session), ("lunasec-purpose", purpose)];
    let asked = [
        ("detokenize", json!({ "token": token }), vec!["ok"]),
        ("detokenize", json!({ "token": unknown }), vec!["not_found"]),
        ("detokenize", json!({ "token": "no token" }), vec!["invalid_token"]),
        (
            "detokenize:batch",
            json!({ "tokens": [token, unknown, "x"] }),
            vec!["ok", "not_found", "invalid_token"],
        ),
        (
            "tokenize:batch",
            json!({ "items": [{ "value": value }, { "value": value }] }),
            vec!["ok", "ok"],
        ),
        ("metadata/set", json!({ "token": token, "metadata": {} }), vec!["ok"]),
        ("metadata/get", json!({ "token": unknown }), vec!["not_found"]),
        (
            "grants/verify",
            json!({ "session": session, "tokens": [token, unknown] }),
            vec!["grant_denied", "not_found"],
        ),
        ("grants/create", json!({ "session": session, "tokens": [token] }), vec!["ok"]),
        ("grants/verify", json!({ "session": session, "tokens": [token] }), vec!["ok"]),
        ("grants/revoke", json!({ "session": session, "tokens": [token] }), vec!["ok"]),
        ("grants/revoke", json!({ "session": session }), vec!["ok"]),
        ("delete", json!({ "tokens": [token, "x"] }), vec!["ok", "invalid_token"]),
        ("tokenize", json!({ "value": 7 }), vec!["invalid_request"]),
    ];
    let mut expected = vec![("tokenize".to_owned(), "ok".to_owned(), None)];
    let mut connection = sidecar.connect();
    for (route, body, codes) in asked {
        let path = format!("/v1/{route}");
        let answer = connection.post_with(&path, &headers, body.to_string().as_bytes());
        let id = answer.headers["lunasec-request-id"].clone();
        let operation = route.replace(['/', ':'], "_");
        for code in codes {
            expected.push((operation.clone(), code.to_owned(), Some(id.clone())));
        }
    }
    // What touches no token leaves none.
    let mut status = sidecar.connect();
    status.send(head("GET", "/v1/status", &[("host", "sidecar")])).unwrap();
    assert_eq!(status.answer().unwrap().status, 200);
    let records = eventually_records(here, expected.len());
    let text = |record: &Value, key: &str| record[key].as_str().unwrap_or_default().to_owned();
    assert_eq!(records.len(), expected.len());
    let (mut tokens, mut sessions) = (HashSet::new(), HashSet::new());
    for (record, (operation, code, id)) in records.iter().zip(&expected) {
        assert_eq!((&text(record, "op"), &text(record, "code")), (operation, code), "{record}");
        if let Some(id) = id {
            assert_eq!(&text(record, "request"), id, "{record}");
            assert_eq!(text(record, "purpose"), purpose, "{record}");
            sessions.insert(text(record, "session"));
        }
        assert_eq!(record["uid"], rustix::process::geteuid().as_raw(), "{record}");
        tokens.insert(text(record, "token"));
    }
    // This token, the unknown one, two of the batch, and none.
    assert_eq!((tokens.len(), sessions.len()), (5, 1));
    let whole = fs::read_to_string(file(here)).unwrap();
    for secret in [value, session, &token, &unknown, &token["lunasec-".len()..]] {
        assert!(!whole.contains(secret), "{secret} is in the audit trail");
    }
    let found = audit(&["find"], &token, &[&file(here)]);
    let lines = String::from_utf8(found.stdout).unwrap();
    assert_eq!(lines.lines().count(), 9, "{lines}");
    assert!(!audit(&["find"], &unknown_token(), &[&file(here)]).status.success());
    sidecar.stop();
    // As it stopped, and before that as it began, if that came first.
    let proven = verify(here, true, &[&file(here)]).unwrap();
    assert!(proven.contains(" 1 anchors met") || proven.contains(" 2 anchors met"), "{proven}");
}

/// A purpose is written down, so it must not hold what may not be.
#[test]
fn a_purpose_that_holds_a_token_or_is_long_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let sidecar = Sidecar::serve_in(here, &to_file(here, ""));
    let token = sidecar.tokenize("value");
    let digits = token["lunasec-".len()..].replace('-', "");
    for purpose in [
        format!("for {token}, please"),
        format!("for {}", token.to_uppercase()),
        format!("for Lunasec {digits}"),
        format!("for lunasec\u{2011}{}", token["lunasec-".len()..].replace('-', "\u{2011}")),
        "x".repeat(1_025),
        "looks like\u{202e}this".into(),
        "two\u{2028}lines".into(),
    ] {
        let body = json!({ "token": token }).to_string();
        let headers = [("lunasec-purpose", purpose.as_str())];
        let answer = sidecar.connect().post_with("/v1/detokenize", &headers, body.as_bytes());
        assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_request"));
        assert!(!answer.text().contains(&token));
    }
    let records = eventually_records(here, 8);
    assert!(!records.iter().any(|record| record.to_string().contains(&token)));
}

/// Whatever was answered is there, whenever the process was killed; each once, in chains that are whole.
#[test]
fn what_was_revealed_is_recorded_through_kill_9() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let answered = Mutex::new(Vec::new());
    for reveal in ["required", "durable", "required", "durable"] {
        let extra = format!("reveal = \"{reveal}\"\n");
        let mut sidecar = Sidecar::serve_in(here, &to_file(here, &extra));
        let token = sidecar.tokenize("value");
        let over = AtomicBool::new(false);
        let before = answered.lock().unwrap().len();
        let socket = sidecar.socket().to_owned();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut connection = Raw::connect(&socket);
                    let body = json!({ "token": token }).to_string();
                    while !over.load(Ordering::SeqCst) {
                        let asked =
                            connection.try_post_with("/v1/detokenize", &[], body.as_bytes());
                        let Ok(answer) = asked else { break };
                        assert_eq!(answer.status, 200);
                        let id = answer.headers["lunasec-request-id"].clone();
                        answered.lock().unwrap().push(id);
                    }
                });
            }
            eventually("some are answered", || answered.lock().unwrap().len() > before + 200);
            sidecar.signal(rustix::process::Signal::KILL);
            over.store(true, Ordering::SeqCst);
        });
        sidecar.kill();
    }
    let mut last = Sidecar::serve_in(here, &to_file(here, ""));
    last.stop();
    let records = records(&file(here));
    let recorded: Vec<_> = records.iter().filter_map(|it| it["request"].as_str()).collect();
    let recorded_once: HashSet<_> = recorded.iter().copied().collect();
    assert_eq!(recorded.len(), recorded_once.len(), "each once");
    for id in answered.lock().unwrap().iter() {
        assert!(recorded_once.contains(id.as_str()), "{id} was answered and is not recorded");
    }
    // The end of each that was killed is anchored by those after it.
    let config = here.join("lunasec.toml").display().to_string();
    let proven = audit(&["verify", "--config", &config, "--complete"], "", &[&file(here)]);
    let said = String::from_utf8(proven.stdout).unwrap();
    assert!(proven.status.success(), "{}", String::from_utf8_lossy(&proven.stderr));
    assert_eq!(said.matches("are whole").count(), 5, "{said}");
}

#[test]
fn a_changed_line_a_missing_one_and_a_cut_off_end_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let mut sidecar = Sidecar::serve_in(here, &to_file(here, ""));
    for _ in 0..5 {
        sidecar.tokenize("value");
    }
    sidecar.stop();
    let (path, copy) = (file(here), here.join("copy.jsonl"));
    let whole = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    assert_eq!(lines.len(), 7);
    let says = |lines: &[&str], anchors: bool| {
        fs::write(&copy, lines.join("\n") + "\n").unwrap();
        verify(here, anchors, &[&copy])
    };
    assert!(says(&lines, true).is_ok());
    let changed = lines[3].replace("\"ok\"", "\"no\"");
    let mut with_a_change = lines.clone();
    with_a_change[3] = &changed;
    let refused = says(&with_a_change, false).unwrap_err();
    assert!(refused.contains("copy.jsonl, line 4: its hash does not fit"), "{refused}");
    let mut without_one = lines.clone();
    without_one.remove(2);
    let refused = says(&without_one, false).unwrap_err();
    assert!(refused.contains("line 3: the lines 2 to 2 of its chain are missing"), "{refused}");
    let refused = says(&lines[1..], false).unwrap_err();
    assert!(refused.contains("line 1: it neither begins nor resumes its chain"), "{refused}");
    // No chain can say that its end is missing; an anchor can.
    assert!(says(&lines[..5], false).is_ok());
    let refused = says(&lines[..5], true).unwrap_err();
    assert!(
        refused.contains("ends with line 4, and storage holds an anchor of its line 6"),
        "{refused}"
    );
}

/// A sink that takes nothing holds up nobody and loses nothing; once what may wait for it does, what has to be recorded is
/// refused, and the rest goes on. Then all of it is taken.
#[test]
fn a_sink_that_hangs_blocks_nobody_until_the_spool_is_full_and_then_only_what_must_be_recorded() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let (mut child, post, token) = with_a_sink_that_hangs(here);
    let reveal = || post("/v1/detokenize", &json!({ "token": token }));
    let (revealed, refused) = until_refused(reveal);
    // More than a pipe holds.
    assert!(revealed > 3_000, "{revealed}");
    assert_eq!((refused.status, refused.code().as_str()), (503, "storage_unavailable"));
    assert!(refused.text().contains("audit trail"), "{}", refused.text());
    for _ in 0..200 {
        assert_eq!(reveal().status, 503);
        assert_eq!(post("/v1/tokenize", &json!({ "value": "value" })).status, 200);
    }
    let reader = read(&mut child);
    eventually("reveals go on", || reveal().status == 200);
    stop(&mut child);
    // Standard output is the trail's alone.
    let (trail, copy) = (reader.join().unwrap(), here.join("read.jsonl"));
    fs::write(&copy, &trail).unwrap();
    assert!(verify(here, true, &[&copy]).is_ok());
    let reveals = trail.matches("\"op\":\"detokenize\",\"code\":\"ok\"").count();
    assert!(reveals > revealed, "{reveals} of {revealed}, and one more");
    let tokenizes = trail.matches("\"op\":\"tokenize\",\"code\":\"ok\"").count();
    assert_eq!(tokenizes, 201, "what nobody waited for was kept");
}

/// What must be recorded is tried again by itself: where it is refused before, nothing else would find out.
#[test]
fn reveals_go_on_once_a_full_spool_has_room_though_nothing_else_is_asked() {
    let directory = tempfile::tempdir().unwrap();
    let (mut child, post, token) = with_a_sink_that_hangs(directory.path());
    let reveal = || post("/v1/detokenize", &json!({ "token": token }));
    assert_eq!(until_refused(reveal).1.status, 503);
    let reader = read(&mut child);
    eventually("reveals go on", || reveal().status == 200);
    stop(&mut child);
    assert!(reader.join().unwrap().ends_with("\"}\n"));
}

/// A sidecar whose trail goes to a pipe that nobody reads, how it is asked, and a token.
fn with_a_sink_that_hangs(here: &Path) -> (Child, impl Fn(&str, &Value) -> Answer, Value) {
    Sidecar::configure(here, "[audit]\nsink = \"stdout\"\nspool_bytes = \"4 MiB\"\n");
    let mut command = lunasec();
    command.args(["serve", "--config"]).arg(here.join("lunasec.toml"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let child = command.spawn().unwrap();
    let socket = here.join("lunasec.sock");
    eventually("it serves", || std::os::unix::net::UnixStream::connect(&socket).is_ok());
    let post = move |path: &str, body: &Value| Raw::connect(&socket).post(path, body);
    let token = post("/v1/tokenize", &json!({ "value": "value" })).json()["token"].clone();
    (child, post, token)
}

/// How many reveals are answered, and the first that is not.
fn until_refused(reveal: impl Fn() -> Answer) -> (usize, Answer) {
    for revealed in 0..50_000 {
        let answer = reveal();
        if answer.status != 200 {
            return (revealed, answer);
        }
    }
    panic!("nothing bounds the spool");
}

fn read(child: &mut Child) -> thread::JoinHandle<String> {
    let mut output = child.stdout.take().unwrap();
    thread::spawn(move || {
        let mut text = String::new();
        output.read_to_string(&mut text).unwrap();
        text
    })
}

fn stop(child: &mut Child) {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success());
}

/// Somebody else puts the file aside, as logrotate does.
#[test]
fn a_file_that_is_moved_away_is_begun_anew() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let mut sidecar = Sidecar::serve_in(here, &to_file(here, ""));
    sidecar.tokenize("one");
    eventually_records(here, 1);
    let aside = here.join("audit.jsonl.1");
    fs::rename(file(here), &aside).unwrap();
    sidecar.tokenize("two");
    eventually("another file is there", || file(here).exists());
    sidecar.tokenize("three");
    sidecar.stop();
    let both = records(&aside).len() + records(&file(here)).len();
    assert_eq!(both, 5, "its beginning, its end, and three");
    assert!(verify(here, true, &[&file(here), &aside]).is_ok());
}

/// Half a line, as a kill or a full disk leaves it, is completed, and nothing is lost or twice.
#[test]
fn half_a_line_at_the_end_of_a_file_is_mended_by_the_next_start() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let mut sidecar = Sidecar::serve_in(here, &to_file(here, ""));
    sidecar.tokenize("one");
    sidecar.tokenize("two");
    eventually_records(here, 2);
    sidecar.kill();
    let path = file(here);
    let open = OpenOptions::new().write(true).open(&path).unwrap();
    let length = open.metadata().unwrap().len();
    open.set_len(length - 9).unwrap();
    let mut sidecar = Sidecar::serve_in(here, &to_file(here, ""));
    sidecar.tokenize("three");
    sidecar.stop();
    let proven = verify(here, true, &[&path]).unwrap();
    assert_eq!(proven.matches("are whole").count(), 2, "{proven}");
    let operations = records(&path).iter().filter(|record| record["op"] == "tokenize").count();
    assert_eq!(operations, 3);
}

#[tokio::test]
async fn what_is_asked_over_grpc_is_recorded_as_well() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let sidecar = Sidecar::serve_in(here, &to_file(here, ""));
    let token = sidecar.tokenize("value");
    let mut grpc = Grpc::connect(sidecar.socket()).await;
    let one = api::DetokenizeRequest { token: token.clone() };
    let answer = grpc.call("Detokenize", &one).await;
    answer.message::<api::DetokenizeResponse>();
    let tokens = vec![token, unknown_token(), "x".into()];
    let many = api::BatchDetokenizeRequest { tokens };
    grpc.call("BatchDetokenize", &many).await.message::<api::BatchDetokenizeResponse>();
    let records = eventually_records(here, 5);
    let said: Vec<_> = records
        .iter()
        .map(|record| (record["op"].as_str().unwrap(), record["code"].as_str().unwrap()))
        .collect();
    let expected = [
        ("tokenize", "ok"),
        ("detokenize", "ok"),
        ("detokenize_batch", "ok"),
        ("detokenize_batch", "not_found"),
        ("detokenize_batch", "invalid_token"),
    ];
    assert_eq!(said, expected);
}
