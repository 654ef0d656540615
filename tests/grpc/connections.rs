//! Connections of HTTP/2 that begin oddly, stall, pile up and go away.

use std::{
    io::{ErrorKind, Write},
    process::Command,
};

use bytes::Bytes;
use hyper::Request;
use lunasec_api::grpc as api;
use lunasec_core::limits;
use lunasec_tests::{Grpc, Raw, Sidecar, grpc::framed, raw::request, sidecar::eventually};
use serde_json::{Value, json};

use crate::frames::{
    ACK, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, Frames, GOAWAY, HEADERS, PING, PREFACE,
    REFUSED_STREAM, RST_STREAM, SETTINGS, frame, tokenize_head,
};

const NO_ERROR: u32 = 0;

fn tokenize() -> Bytes {
    framed(&api::TokenizeRequest { value: "v".into(), ..Default::default() })
}

/// Two frames that are a whole call.
fn whole_call(stream: u32) -> Vec<u8> {
    let head = frame(HEADERS, END_HEADERS, stream, &tokenize_head());
    [head, frame(DATA, END_STREAM, stream, &tokenize())].concat()
}

#[test]
fn json_over_http_2_with_curl() {
    let sidecar = Sidecar::dev();
    let curl = |arguments: &[&str]| -> (String, Value) {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--http2-prior-knowledge", "--unix-socket"]);
        command.arg(sidecar.socket()).args(["--write-out", "\n%{http_version} %{http_code}"]);
        let output = command.args(arguments).output().expect("curl runs: install it");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "curl needs HTTP/2: {said}");
        let text = String::from_utf8(output.stdout).unwrap();
        let (body, status) = text.rsplit_once('\n').unwrap();
        (status.to_owned(), serde_json::from_str(body).unwrap())
    };
    let kind = "content-type: application/json";
    let url = |path: &str| format!("http://localhost{path}");
    let (status, given) = curl(&["-H", kind, "-d", r#"{"value": "4111"}"#, &url("/v1/tokenize")]);
    assert_eq!(status, "2 200");
    let body = json!({ "token": given["token"] }).to_string();
    let (status, revealed) = curl(&["-H", kind, "-d", &body, &url("/v1/detokenize")]);
    assert_eq!((status.as_str(), &revealed["value"]), ("2 200", &json!("4111")));
    let (status, says) = curl(&[&url("/v1/status")]);
    assert_eq!(
        (status.as_str(), &says["dependencies"]["storage"]["state"]),
        ("2 200", &json!("up"))
    );
    let (status, problem) = curl(&[&url("/v1/nothing")]);
    assert_eq!((status.as_str(), &problem["code"]), ("2 404", &json!("not_found")));
    let (status, problem) = curl(&[&url("/v1/tokenize")]);
    assert_eq!((status.as_str(), &problem["code"]), ("2 405", &json!("method_not_allowed")));
    let large = json!({ "value": "v".repeat(8 << 20) }).to_string();
    let file = sidecar.directory().join("large.json");
    std::fs::write(&file, large).unwrap();
    let data = format!("@{}", file.display());
    let (status, problem) = curl(&["-H", kind, "-d", &data, &url("/v1/tokenize")]);
    assert_eq!((status.as_str(), &problem["code"]), ("2 413", &json!("payload_too_large")));
}

#[test]
fn a_protocol_is_told_however_slowly_it_begins() {
    let sidecar = Sidecar::dev();
    let body = br#"{"value": "v"}"#;
    for cut in 1..8 {
        let mut connection = sidecar.connect();
        let bytes = request("/v1/tokenize", &[], body);
        trickle(&sidecar, &mut connection, &bytes[..cut]);
        connection.send(&bytes[cut..]).unwrap();
        assert_eq!(connection.answer().unwrap().status, 200, "HTTP/1.1 cut at {cut}");
    }
    let mut slow = sidecar.connect();
    trickle(&sidecar, &mut slow, PREFACE);
    slow.send(frame(SETTINGS, 0, 0, &[])).unwrap();
    let mut first = [0; 4];
    std::io::Read::read_exact(&mut slow.stream, &mut first).unwrap();
    assert_eq!(first[3], SETTINGS);
    // One byte that could begin either, and a close.
    let mut half = sidecar.connect();
    half.send("P").unwrap();
    half.stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(half.answer_or_close().is_none_or(|answer| answer.status == 400));
}

/// Sends byte by byte, and each was seen for certain: a later request was answered.
fn trickle(sidecar: &Sidecar, connection: &mut Raw, bytes: &[u8]) {
    for byte in bytes {
        connection.send([*byte]).unwrap();
        sidecar.tokenize("seen");
    }
}

#[test]
fn what_only_begins_like_http_2_is_closed() {
    let sidecar = Sidecar::dev();
    for garbage in ["PR", "PRI", "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", "PROPFIND / HTTP/1.1\r\n\r\n"]
    {
        let mut connection = sidecar.connect();
        connection.send(garbage).unwrap();
        connection.stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut rest = Vec::new();
        let _ = std::io::Read::read_to_end(&mut connection.stream, &mut rest);
        let text = String::from_utf8_lossy(&rest);
        assert!(!text.contains("HTTP/1.1 200"), "{garbage:?}: {text:?}");
    }
    let mut frames = Frames::connect(&sidecar);
    frames.send(&[0xff; 64]);
    frames.closed();
    sidecar.tokenize("v");
}

#[test]
fn a_hundred_requests_at_once_and_the_next_is_refused() {
    let sidecar = Sidecar::dev();
    let mut frames = Frames::connect(&sidecar);
    let settings = frames.find(SETTINGS).unwrap().payload;
    let streams = [&[0, 3][..], &limits::STREAMS.to_be_bytes()].concat();
    assert!(settings.chunks(6).any(|setting| setting == streams), "{settings:?}");
    let head = tokenize_head();
    for n in 0..=limits::STREAMS {
        frames.send(&frame(HEADERS, END_HEADERS, 2 * n + 1, &head));
    }
    let reset = frames.find(RST_STREAM).unwrap();
    assert_eq!((reset.stream, reset.error()), (2 * limits::STREAMS + 1, REFUSED_STREAM));
    // The others are answered when they go on.
    for n in 0..limits::STREAMS {
        frames.send(&frame(DATA, END_STREAM, 2 * n + 1, &tokenize()));
    }
    for _ in 0..limits::STREAMS {
        assert!(frames.find(HEADERS).is_some());
    }
    eventually("all are stored", || sidecar.stored_records() == u64::from(limits::STREAMS));
}

#[test]
fn a_frame_or_head_that_does_not_end_is_cut_off() {
    let sidecar = Sidecar::serve("[limits]\nhead_time = \"500ms\"\n");
    let mut honest = Frames::connect(&sidecar);
    assert!(honest.answers());
    let head = tokenize_head();
    for (what, bytes) in [
        ("a head without its end", frame(HEADERS, 0, 1, &head)),
        ("half a frame", frame(HEADERS, END_HEADERS, 1, &head)[..20].to_vec()),
        ("half a frame's head", vec![0, 0, 1]),
        (
            "half a body's frame",
            [frame(HEADERS, END_HEADERS, 1, &head), frame(DATA, 0, 1, &[0; 100])[..50].to_vec()]
                .concat(),
        ),
    ] {
        let mut stalled = Frames::connect(&sidecar);
        assert!(stalled.answers(), "{what}");
        stalled.send(&bytes);
        stalled.closed();
    }
    // A preface alone, and a preface in part.
    for part in [PREFACE, &PREFACE[..10]] {
        let mut silent = sidecar.connect();
        silent.send(part).unwrap();
        let mut rest = Vec::new();
        std::io::Read::read_to_end(&mut silent.stream, &mut rest).unwrap();
    }
    // Longer than all of that, this one did nothing wrong.
    assert!(honest.answers());
    assert_eq!(sidecar.stored_records(), 0);
}

#[test]
fn an_idle_connection_is_asked_to_go() {
    let sidecar = Sidecar::serve("[limits]\nidle_time = \"500ms\"\n");
    let mut frames = Frames::connect(&sidecar);
    frames.send(&whole_call(1));
    assert!(frames.find(HEADERS).is_some());
    // Before it is asked whether it is there.
    let goodbye = loop {
        let frame = frames.next().unwrap();
        assert!(frame.kind != PING || frame.payload.starts_with(b"\x0b"), "{frame:?}");
        if frame.kind == GOAWAY {
            break frame;
        }
    };
    assert_eq!(goodbye.error(), NO_ERROR);
    frames.closed();
}

#[test]
fn requests_that_are_taken_back_at_once_end_their_connection() {
    let sidecar = Sidecar::dev();
    let mut honest = Frames::connect(&sidecar);
    let mut rude = Frames::connect(&sidecar);
    let head = tokenize_head();
    let mut burst = Vec::new();
    for n in 0..10_000 {
        burst.extend(frame(HEADERS, END_HEADERS, 2 * n + 1, &head));
        burst.extend(frame(RST_STREAM, 0, 2 * n + 1, &8u32.to_be_bytes()));
    }
    rude.send(&burst);
    let goodbye = rude.find(GOAWAY).expect("told why");
    assert_eq!(goodbye.error(), ENHANCE_YOUR_CALM);
    rude.closed();
    honest.send(&whole_call(1));
    assert!(honest.find(HEADERS).is_some());
}

#[tokio::test]
async fn a_head_larger_than_its_limit_is_refused() {
    let sidecar = Sidecar::dev();
    let mut grpc = Grpc::connect(sidecar.socket()).await;
    let head = Grpc::head("Tokenize").header("x", "x".repeat(limits::HEAD_BYTES));
    let answer = grpc.send(head, tokenize()).await;
    assert_eq!(answer.http, 431);
    let answer = grpc.send(Grpc::head("Tokenize"), tokenize()).await;
    answer.message::<api::TokenizeResponse>();
}

#[tokio::test]
async fn a_write_completes_when_its_call_is_cancelled() {
    let sidecar = Sidecar::dev();
    let mut grpc = Grpc::connect(sidecar.socket()).await;
    // In three steps, one after the other: the key, the metadata, the values.
    let item = api::TokenizeRequest {
        value: "v".into(),
        metadata: Some("{}".into()),
        ..Default::default()
    };
    let body = framed(&api::BatchTokenizeRequest { items: vec![item; 1_000] });
    for round in 1..=5 {
        let head = Grpc::head("BatchTokenize").header("idempotency-key", format!("{round}"));
        let mut call = grpc.begin(head, Some(body.clone())).await;
        grpc.settle().await;
        call.body.send_reset(h2::Reason::CANCEL);
        grpc.settle().await;
        eventually("all are stored", || sidecar.stored_records() == round * 2_000);
    }
}

/// How often that was counted.
fn counted(sidecar: &Sidecar, operation: &str, code: &str) -> f64 {
    let labels = format!("operation=\"{operation}\",code=\"{code}\"");
    sidecar.metric(&format!("lunasec_requests_total{{{labels}}}"))
}

#[tokio::test]
async fn a_cancelled_call_is_counted_as_that_and_once() {
    let sidecar = Sidecar::dev();
    let mut grpc = Grpc::connect(sidecar.socket()).await;
    let json = || {
        let head = Request::post("http://localhost/v1/detokenize");
        head.header("content-type", "application/json")
    };
    for round in 1..=3 {
        for (head, operation) in [(Grpc::head("Tokenize"), "tokenize"), (json(), "detokenize")] {
            let mut call = grpc.begin(head, None).await;
            call.more(tokenize().slice(..3), false).await;
            grpc.settle().await;
            call.body.send_reset(h2::Reason::CANCEL);
            grpc.settle().await;
            eventually("it is counted", || {
                counted(&sidecar, operation, "cancelled") == f64::from(round)
            });
        }
    }
    // One that has its answer is not.
    let mut call = grpc.begin(Grpc::head("Tokenize"), Some(tokenize())).await;
    grpc.settle().await;
    eventually("it is answered", || counted(&sidecar, "tokenize", "ok") == 1.0);
    call.body.send_reset(h2::Reason::CANCEL);
    grpc.settle().await;
    assert_eq!(counted(&sidecar, "tokenize", "cancelled"), 3.0);
    // What nobody waited for has no duration.
    let timed = |operation: &str| {
        let labels = format!("operation=\"{operation}\"");
        sidecar.metric(&format!("lunasec_request_duration_seconds_count{{{labels}}}"))
    };
    assert_eq!((timed("tokenize"), timed("detokenize")), (1.0, 0.0));
    // And it is no news to the operator.
    assert!(!sidecar.log().contains("request failed"), "{}", sidecar.log());
}

#[test]
fn pings_are_answered_each_with_its_own_bytes() {
    let sidecar = Sidecar::dev();
    let mut frames = Frames::connect(&sidecar);
    for round in 0..100 {
        frames.send(&frame(PING, 0, 0, &[round; 8]));
        let pong = frames.find(PING).unwrap();
        assert_eq!((pong.flags, pong.stream, pong.payload), (ACK, 0, vec![round; 8]));
    }
}

/// One answer at a time is owed: while it cannot be written, nothing more is read.
#[test]
fn pings_whose_answers_nobody_reads_are_left_unread() {
    const MOST: usize = 8 << 20;
    let sidecar = Sidecar::dev();
    let mut flood = Frames::connect(&sidecar);
    let pings = frame(PING, 0, 0, &[7; 8]).repeat(1_000);
    let (mut sent, mut stuck) = (0, 0);
    flood.raw.stream.set_nonblocking(true).unwrap();
    while stuck < 50 {
        match flood.raw.stream.write(&pings[sent % 17..]) {
            Ok(taken) => (sent, stuck) = (sent + taken, 0),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                // It has time for others meanwhile.
                sidecar.tokenize("v");
                stuck += 1;
            }
        }
        assert!(sent < MOST, "it takes pings without end");
    }
    flood.raw.stream.set_nonblocking(false).unwrap();
    // Once they are read, it goes on, and every ping has had its answer.
    let (whole, rest) = (sent / 17, sent % 17);
    for _ in 0..whole {
        assert_eq!(flood.find(PING).unwrap().flags, ACK);
    }
    flood.send(&pings[rest..17]);
    assert!(flood.answers());
}

#[tokio::test]
async fn json_writes_complete_when_they_are_cancelled() {
    let sidecar = Sidecar::dev();
    let mut grpc = Grpc::connect(sidecar.socket()).await;
    for round in 1..=10 {
        let head = Request::post("http://localhost/v1/tokenize");
        let head = head.header("content-type", "application/json");
        let head = head.header("idempotency-key", format!("{round}"));
        let body = r#"{"value": "v", "metadata": {}}"#;
        let mut call = grpc.begin(head, Some(body.into())).await;
        grpc.settle().await;
        call.body.send_reset(h2::Reason::CANCEL);
        grpc.settle().await;
        eventually("both are stored", || sidecar.stored_records() == round * 2);
    }
}

#[test]
fn a_path_as_authority_is_refused_at_once() {
    let sidecar = Sidecar::dev();
    let mut frames = Frames::connect(&sidecar);
    let head = tokenize_head();
    // As grpc-core sends it by itself.
    let authority = b"%2Frun%2Fx";
    let at = head.windows(9).position(|part| part == b"localhost").unwrap();
    let mut odd = head.clone();
    odd.splice(at - 1..at + 9, [&[10], &authority[..]].concat());
    frames.send(&frame(HEADERS, END_HEADERS, 1, &odd));
    let reset = frames.find(RST_STREAM).unwrap();
    assert_eq!((reset.stream, reset.error()), (1, 1), "PROTOCOL_ERROR, and nothing hangs");
    frames.send(&whole_call(3));
    assert_eq!(frames.find(HEADERS).unwrap().stream, 3);
}
