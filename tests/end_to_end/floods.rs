//! Clients that take what they can get: the sidecar's memory stays bounded, and honest clients are
//! served meanwhile.

use std::{io, os::unix::net::UnixStream};

use lunasec_core::limits;
use lunasec_tests::{
    Sidecar,
    raw::{head, request},
    sidecar::{eventually, raise_file_limit},
};
use serde_json::json;

const KIB_PER_MIB: u64 = 1024;

fn resident_mib(sidecar: &Sidecar) -> u64 {
    sidecar.kernel_says("VmHWM") / KIB_PER_MIB
}

#[test]
fn ten_thousand_connections() {
    raise_file_limit(12_000);
    let sidecar = Sidecar::dev();
    let mut honest = sidecar.connect();
    let token = honest.post("/v1/tokenize", &json!({ "value": "v" })).json()["token"].clone();
    let mut flood = Vec::new();
    for _ in 0..10_000 {
        // A full backlog refuses at once: that is as good as being told.
        match UnixStream::connect(sidecar.socket()) {
            Ok(stream) => flood.push(stream),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{error}"),
        }
        if flood.len() % 500 == 0 {
            let answer = honest.post("/v1/detokenize", &json!({ "token": token }));
            assert_eq!(answer.json()["value"], "v", "{}", answer.text());
        }
    }
    assert!(resident_mib(&sidecar) < 64, "{} MiB", resident_mib(&sidecar));
    drop(flood);
    eventually("a new client is served again", || {
        let mut more = sidecar.connect();
        more.send_what_goes(request(
            "/v1/detokenize",
            &[],
            json!({ "token": token }).to_string().as_bytes(),
        ));
        more.answer().is_ok_and(|answer| answer.status == 200)
    });
}

/// Heads of 16 KiB that never end, on nearly every connection there is.
#[test]
fn a_thousand_slow_heads() {
    raise_file_limit(4_096);
    let sidecar = Sidecar::serve("[limits]\nhead_time = \"2s\"\n");
    let mut honest = sidecar.connect();
    let mut slow: Vec<_> = (0..limits::CONNECTIONS - 8).map(|_| sidecar.connect()).collect();
    let piece = format!("x-{}: {}\r\n", "n".repeat(100), "v".repeat(3_000));
    for connection in &mut slow {
        connection.send_what_goes("POST /v1/tokenize HTTP/1.1\r\nhost: localhost\r\n");
    }
    for _ in 0..4 {
        for connection in &mut slow {
            connection.send_what_goes(&piece);
        }
        assert_eq!(honest.post("/v1/tokenize", &json!({ "value": "v" })).status, 200);
    }
    assert!(resident_mib(&sidecar) < 96, "{} MiB", resident_mib(&sidecar));
    for connection in &mut slow {
        assert!(connection.answer_or_close().is_none(), "a head without an end was answered");
    }
    assert_eq!(honest.post("/v1/tokenize", &json!({ "value": "v" })).status, 200);
}

/// Bodies that together are more than may be held at once.
#[test]
fn bodies_in_flight() {
    const HELD: usize = 32 << 20;
    let sidecar = Sidecar::serve("[limits]\nbody_bytes_in_flight = \"32 MiB\"\n");
    let mut honest = sidecar.connect();
    let body = vec![b' '; limits::BATCH_BYTES - 1];
    let length = (body.len() + 1).to_string();
    let headers =
        [("host", "localhost"), ("content-type", "application/json"), ("content-length", &length)];
    let mut held = Vec::new();
    for _ in 0..HELD / limits::BATCH_BYTES {
        let mut connection = sidecar.connect();
        connection.send(head("POST", "/v1/tokenize:batch", &headers)).unwrap();
        connection.send(&body).unwrap();
        held.push(connection);
    }
    for _ in 0..8 {
        let mut more = sidecar.connect();
        more.send_what_goes(head("POST", "/v1/tokenize:batch", &headers));
        more.send_what_goes(&body);
        let answer = more.answer().unwrap();
        assert_eq!((answer.status, answer.code().as_str()), (503, "overloaded"));
    }
    // Small ones are served all the same ...
    let token = honest.post("/v1/tokenize", &json!({ "value": "v" })).json()["token"].clone();
    assert_eq!(honest.post("/v1/detokenize", &json!({ "token": token })).json()["value"], "v");
    let large = json!({ "value": "v".repeat(100_000) });
    assert_eq!(honest.post("/v1/tokenize", &large).code(), "overloaded");
    assert!(resident_mib(&sidecar) < 128, "{} MiB", resident_mib(&sidecar));
    // ... and large ones as soon as there is room.
    drop(held);
    eventually("large bodies are taken again", || {
        honest.post("/v1/tokenize", &large).status == 200
    });
}

/// What is announced and never comes keeps nobody out.
#[test]
fn announced_bodies() {
    let sidecar = Sidecar::dev();
    let length = limits::BATCH_BYTES.to_string();
    let headers =
        [("host", "localhost"), ("content-type", "application/json"), ("content-length", &length)];
    let mut silent: Vec<_> = (0..40).map(|_| sidecar.connect()).collect();
    for connection in &mut silent {
        connection.send(head("POST", "/v1/tokenize:batch", &headers)).unwrap();
        connection.send("{").unwrap();
    }
    let large = json!({ "value": "v".repeat(1_000_000) });
    for _ in 0..3 {
        assert_eq!(sidecar.post("/v1/tokenize", &large).status, 200);
    }
}

/// Answers that are asked for and not read.
#[test]
fn answers_that_nobody_reads() {
    let sidecar = Sidecar::serve("[limits]\nbody_bytes_in_flight = \"32 MiB\"\n");
    let token = sidecar.tokenize(&"v".repeat(1_000_000));
    let batch = json!({ "tokens": vec![&token; 15] }).to_string();
    let batch = request("/v1/detokenize:batch", &[], batch.as_bytes());
    let mut greedy: Vec<_> = (0..40).map(|_| sidecar.connect()).collect();
    for connection in &mut greedy {
        connection.send(&batch).unwrap();
    }
    let counted = |code: &str| {
        let labels = format!("{{operation=\"detokenize_batch\",code=\"{code}\"}}");
        sidecar.metric(&format!("lunasec_requests_total{labels}"))
    };
    eventually("all are answered", || counted("ok") + counted("overloaded") >= 40.0);
    assert!(counted("ok") >= 1.0 && counted("overloaded") >= 1.0);
    // Beside what is held, 40 batches have values on their way: without a bound it is 600 MiB.
    assert!(resident_mib(&sidecar) < 320, "{} MiB", resident_mib(&sidecar));
    let small = sidecar.tokenize("small");
    assert_eq!(sidecar.detokenize(&small).json()["value"], "small");
    drop(greedy);
    eventually("large answers are given again", || sidecar.detokenize(&token).status == 200);
}
