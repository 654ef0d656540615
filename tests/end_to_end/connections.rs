//! Connections that come, go, stall and pile up.

use std::{
    fs::{self, OpenOptions},
    io,
    net::Shutdown,
    os::unix::net::UnixStream,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use lunasec_core::limits;
use lunasec_tests::{
    Raw, Sidecar,
    raw::{head, request},
    sidecar::{binary, eventually, raise_file_limit, unknown_token},
};
use rustix::{
    fs::{CWD, FileType, Mode, mknodat},
    process::Signal,
};
use serde_json::json;

const BODY: &[u8] = br#"{"value": "4111 1111 1111 1111"}"#;
const MIB: usize = 1 << 20;

fn tokenize() -> Vec<u8> {
    request("/v1/tokenize", &[], BODY)
}

fn tokenize_with(headers: &[(&str, &str)]) -> Vec<u8> {
    request("/v1/tokenize", headers, b"")
}

fn status() -> String {
    head("GET", "/v1/status", &[("host", "localhost")])
}

/// How often a tokenize was answered so.
fn counted(sidecar: &Sidecar, code: &str) -> f64 {
    sidecar.metric(&format!("lunasec_requests_total{{operation=\"tokenize\",code=\"{code}\"}}"))
}

/// Half a tokenize's body, read by the sidecar for certain: it asks for the body once it reads it.
fn half_a_request(sidecar: &Sidecar) -> Raw {
    let mut connection = sidecar.connect();
    let length = BODY.len().to_string();
    let headers = [("content-length", length.as_str()), ("expect", "100-continue")];
    connection.send(tokenize_with(&headers)).unwrap();
    assert_eq!(connection.answer().unwrap().status, 100);
    connection.send(&BODY[..BODY.len() / 2]).unwrap();
    connection
}

#[test]
fn a_write_completes_when_its_client_is_gone() {
    let sidecar = Sidecar::dev();
    for _ in 0..20 {
        // Sent, and closed at once: nobody waits for the answer.
        sidecar.connect().send(tokenize()).unwrap();
    }
    eventually("20 records", || sidecar.stored_records() == 20);
    assert_eq!(counted(&sidecar, "ok"), 20.0);
}

#[test]
fn half_a_body_and_a_close_store_nothing() {
    let sidecar = Sidecar::dev();
    for _ in 0..5 {
        drop(half_a_request(&sidecar));
    }
    eventually("5 refusals", || counted(&sidecar, "invalid_request") == 5.0);
    assert_eq!(sidecar.stored_records(), 0);
    // With its other half open, such a client is told.
    let mut connection = half_a_request(&sidecar);
    connection.stream.shutdown(Shutdown::Write).unwrap();
    let answer = connection.answer().unwrap();
    assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_request"));
}

/// With an answer unread, its close is a reset. Nothing is cancelled on HTTP/1.1: what is wrong is that
/// the body has no end.
#[test]
fn a_client_that_resets_its_connection_is_counted_once() {
    let sidecar = Sidecar::dev();
    for _ in 0..5 {
        let mut connection = sidecar.connect();
        let length = BODY.len().to_string();
        let headers = [("content-length", length.as_str()), ("expect", "100-continue")];
        connection.send(tokenize_with(&headers)).unwrap();
        let mut first = [0];
        std::io::Read::read_exact(&mut connection.stream, &mut first).unwrap();
    }
    eventually("5 refusals", || counted(&sidecar, "invalid_request") == 5.0);
    assert_eq!(counted(&sidecar, "cancelled"), 0.0);
}

#[test]
fn half_a_body_and_silence_end_with_the_deadline() {
    let sidecar = Sidecar::dev();
    let started = Instant::now();
    let mut connection = half_a_request(&sidecar);
    let answer = connection.answer().unwrap();
    assert_eq!((answer.status, answer.code().as_str()), (504, "deadline_exceeded"));
    assert_eq!(answer.json()["retryable"], true);
    near(started.elapsed(), limits::REQUEST_TIME);
    assert!(connection.closed(), "the rest of the body cannot be told from a request");
    assert_eq!(sidecar.stored_records(), 0);
}

/// Not before its time, and soon after it.
fn near(elapsed: Duration, allowance: Duration) {
    assert!(elapsed + Duration::from_millis(200) >= allowance, "too early: {elapsed:?}");
    assert!(elapsed < allowance + Duration::from_secs(4), "too late: {elapsed:?}");
}

#[test]
fn a_refusal_is_read_by_a_client_that_is_still_writing() {
    let sidecar = Sidecar::dev();
    let length = (2usize << 30).to_string();
    let mut connection = sidecar.connect();
    connection.send(tokenize_with(&[("content-length", &length)])).unwrap();
    // None of these fails: the sidecar reads on.
    for _ in 0..16 {
        connection.send(vec![b'x'; MIB]).unwrap();
    }
    let answer = connection.answer().unwrap();
    assert_eq!((answer.status, answer.code().as_str()), (413, "payload_too_large"));
    // But not for ever.
    let started = Instant::now();
    while connection.send(vec![b'x'; MIB]).is_ok() {
        assert!(started.elapsed() < Duration::from_secs(20), "it reads 2 GiB for nothing");
    }
}

#[test]
fn a_refusal_is_read_by_a_client_that_writes_everything_first() {
    let sidecar = Sidecar::dev();
    let large = vec![b'x'; 20 * MIB];
    for (path, headers, status) in [
        ("/v1/tokenize:batch", &[][..], 413),
        ("/v1/detokenize", &[], 413),
        ("/v1/tokenize", &[("content-type", "text/plain")], 415),
        ("/v1/tokenize", &[("lunasec-namespace", "No Name")], 400),
        ("/v1/nothing", &[], 404),
        ("/v1/status", &[], 405),
    ] {
        let mut connection = sidecar.connect();
        connection.send(request(path, headers, &large)).unwrap();
        assert_eq!(connection.answer().unwrap().status, status, "{path}");
        // In chunks, too.
        let chunks =
            [format!("{:x}\r\n", large.len()).as_bytes(), &large, b"\r\n0\r\n\r\n"].concat();
        let chunked = [headers, &[("transfer-encoding", "chunked")]].concat();
        let mut connection = sidecar.connect();
        connection.send(request(path, &chunked, &chunks)).unwrap();
        assert_eq!(connection.answer().unwrap().status, status, "{path} in chunks");
    }
}

#[test]
fn a_client_that_asks_before_it_sends_is_refused_without_a_continue() {
    let sidecar = Sidecar::dev();
    let length = (2usize << 30).to_string();
    let mut connection = sidecar.connect();
    let headers = [("content-length", length.as_str()), ("expect", "100-continue")];
    connection.send(tokenize_with(&headers)).unwrap();
    let answer = connection.answer().unwrap();
    assert_eq!((answer.status, answer.code().as_str()), (413, "payload_too_large"));
}

#[test]
fn a_connection_serves_many_requests_in_order() {
    let sidecar = Sidecar::dev();
    let mut connection = sidecar.connect();
    let tokens: Vec<String> = (0..50)
        .map(|n| {
            let answer = connection.post("/v1/tokenize", &json!({ "value": n.to_string() }));
            answer.json()["token"].as_str().unwrap().to_owned()
        })
        .collect();
    // All at once, refusals among them; the answers come in the order of the requests.
    let mut pipeline = Vec::new();
    for token in &tokens {
        let body = json!({ "token": token }).to_string();
        pipeline.extend(request("/v1/detokenize", &[], body.as_bytes()));
        pipeline.extend(request("/v1/nothing", &[], b"{}"));
        pipeline.extend(request("/v1/tokenize", &[], b"{\"value\": \"\"}"));
    }
    connection.send(pipeline).unwrap();
    for n in 0..tokens.len() {
        let answer = connection.answer().unwrap();
        assert_eq!(answer.json()["value"], n.to_string(), "{}", answer.text());
        assert_eq!(connection.answer().unwrap().status, 404);
        assert!(connection.answer().unwrap().json()["token"].is_string());
    }
}

#[test]
fn a_client_that_has_said_all_it_will_still_gets_its_answers() {
    let sidecar = Sidecar::dev();
    let mut connection = sidecar.connect();
    connection.send([tokenize(), tokenize()].concat()).unwrap();
    connection.stream.shutdown(Shutdown::Write).unwrap();
    for _ in 0..2 {
        assert_eq!(connection.answer().unwrap().status, 200);
    }
    assert!(connection.closed());
}

#[test]
fn a_head_that_trickles_in_is_cut_off_after_its_time() {
    let sidecar = Sidecar::dev();
    // The first request of a connection, and a later one.
    thread::scope(|scope| {
        for earlier in [0, 1] {
            let mut connection = sidecar.connect();
            scope.spawn(move || {
                for _ in 0..earlier {
                    connection.send(status()).unwrap();
                    assert_eq!(connection.answer().unwrap().status, 200);
                }
                let started = Instant::now();
                let mut bytes =
                    b"POST /v1/tokenize HTTP/1.1\r\nx-slow: ".iter().chain([b'x'; 500].iter());
                connection.stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
                // Another byte every tenth of a second, until there is nobody to read them.
                while !gone(&mut connection, *bytes.next().expect("it listens for ever")) {}
                near(started.elapsed(), limits::HEAD_TIME);
            });
        }
    });
}

/// Sends a byte, and looks whether the other side has closed.
fn gone(connection: &mut Raw, byte: u8) -> bool {
    connection.send([byte]).is_err() || connection.closed()
}

#[test]
fn silence_is_borne_for_as_long_as_it_is_configured() {
    let times = "[limits]\nfirst_byte_time = \"1s\"\nidle_time = \"2s\"\n";
    let sidecar = Sidecar::serve(times);
    let started = Instant::now();
    let mut silent = sidecar.connect();
    let mut idle = sidecar.connect();
    idle.send(status()).unwrap();
    assert_eq!(idle.answer().unwrap().status, 200);
    assert!(silent.closed());
    near(started.elapsed(), Duration::from_secs(1));
    assert!(idle.closed());
    near(started.elapsed(), Duration::from_secs(2));
}

#[test]
fn a_refused_request_leaves_its_connection_usable() {
    let sidecar = Sidecar::dev();
    let mut connection = sidecar.connect();
    for _ in 0..3 {
        // The refusal comes before the body does.
        connection.send(request("/v1/nothing", &[("content-length", "4")], b"")).unwrap();
        assert_eq!(connection.answer().unwrap().status, 404);
        connection.send("body").unwrap();
        connection.send(status()).unwrap();
        assert_eq!(connection.answer().unwrap().status, 200);
    }
}

#[test]
fn an_answer_does_not_wait_for_what_follows_its_request() {
    let sidecar = Sidecar::dev();
    for more in [
        "\r\n",
        "\r\n\r\n",
        "G",
        "POST /v1/tokenize HTTP/1.1\r\nhost: local",
        "\0",
        "garbage\r\n\r\n",
    ] {
        let mut connection = sidecar.connect();
        connection.stream.set_read_timeout(Some(Duration::from_secs(4))).unwrap();
        connection.send([&tokenize(), more.as_bytes()].concat()).unwrap();
        let answer = connection.answer().unwrap_or_else(|error| panic!("{more:?}: {error}"));
        assert_eq!(answer.status, 200, "{more:?}");
    }
}

#[test]
fn connections_beyond_the_limit_are_told_so() {
    raise_file_limit(4_096);
    let directory = tempfile::tempdir().unwrap();
    // As most systems start a process: with fewer files than connections.
    let mut command = Command::new("sh");
    let script = "ulimit -Sn 1024; exec \"$0\" dev --admin 127.0.0.1:0 --dir \"$1\"";
    command.args(["-c", script]).arg(binary()).arg(directory.path());
    let socket = directory.path().join("lunasec.sock");
    let sidecar = Sidecar::spawn(command, directory.path(), socket).unwrap();
    let mut held: Vec<Raw> = (0..limits::CONNECTIONS).map(|_| sidecar.connect()).collect();
    for connection in &mut held {
        connection.send(status()).unwrap();
        assert_eq!(connection.answer().unwrap().status, 200);
    }
    for _ in 0..20 {
        let mut more = sidecar.connect();
        let answer = more.answer().unwrap();
        assert_eq!((answer.status, answer.code().as_str()), (503, "overloaded"));
        assert_eq!(answer.headers["content-type"], "application/problem+json");
        assert_eq!(answer.headers["connection"], "close");
        assert_eq!(answer.headers["retry-after"], "1");
        assert_eq!(answer.json()["retryable"], true);
        assert!(more.closed());
    }
    // However many they are at once, and whether or not they have written something.
    let mut flood: Vec<_> = (0..limits::REFUSALS * 3)
        .map(|at| {
            let mut more = sidecar.connect();
            if at % 2 == 0 {
                more.send_what_goes(tokenize());
            }
            more
        })
        .collect();
    for more in &mut flood {
        let answer = more.answer().unwrap();
        assert_eq!((answer.status, answer.code().as_str()), (503, "overloaded"));
    }
    drop(flood);
    // One that writes first can read it as well.
    let mut more = sidecar.connect();
    more.send_what_goes(request("/v1/tokenize", &[], &vec![b'x'; 8 * MIB]));
    assert_eq!(more.answer().unwrap().status, 503);
    for connection in &mut held {
        connection.send(tokenize()).unwrap();
    }
    for connection in &mut held {
        assert_eq!(connection.answer().unwrap().status, 200);
    }
    held.truncate(limits::CONNECTIONS / 2);
    eventually("room for another", || {
        let mut more = sidecar.connect();
        more.send_what_goes(status());
        more.answer().is_ok_and(|answer| answer.status == 200)
    });
    assert!(!sidecar.log().contains("WARN"), "{}", sidecar.log());
}

#[test]
fn requests_beyond_the_limit_are_told_so_and_cost_nothing() {
    let sidecar = Sidecar::serve("[limits]\nrequests = 2\n");
    let mut at_work = [half_a_request(&sidecar), half_a_request(&sidecar)];
    eventually("both are at work", || {
        let answer = sidecar.post("/v1/detokenize", &serde_json::json!({ "token": "v" }));
        (answer.status, answer.code().as_str()) == (503, "overloaded")
    });
    for connection in &mut at_work {
        connection.send(&BODY[BODY.len() / 2..]).unwrap();
        assert_eq!(connection.answer().unwrap().status, 200);
    }
    // Those that are done make room.
    assert_eq!(sidecar.post("/v1/tokenize", &serde_json::json!({ "value": "v" })).status, 200);
    let shed = "lunasec_requests_total{operation=\"detokenize\",code=\"overloaded\"}";
    assert!(sidecar.metric(shed) >= 1.0);
}

#[test]
fn a_stop_answers_what_was_taken_and_takes_no_more() {
    let mut sidecar = Sidecar::dev();
    let mut idle = sidecar.connect();
    idle.send(status()).unwrap();
    assert_eq!(idle.answer().unwrap().status, 200);
    let mut untouched = sidecar.connect();
    let mut at_work = half_a_request(&sidecar);
    let stopped = Instant::now();
    sidecar.signal(Signal::TERM);
    assert!(sidecar.wait_for_line(|line| line.contains("stopping")).is_some());
    // Connections with nothing to do are closed, and do not hold the rest up.
    assert!(idle.closed());
    assert!(untouched.closed());
    eventually("new connections are refused", || refused(&sidecar));
    assert_eq!(lunasec_tests::raw::get_tcp(&sidecar.admin(), "/ready").status, 503);
    assert_eq!(lunasec_tests::raw::get_tcp(&sidecar.admin(), "/live").status, 200);
    at_work.send(&BODY[BODY.len() / 2..]).unwrap();
    let answer = at_work.answer().unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let status = sidecar.wait();
    assert_eq!(status.code(), Some(0), "{}", sidecar.log());
    assert!(stopped.elapsed() < Duration::from_secs(5), "{:?}", stopped.elapsed());
    assert!(!sidecar.socket().exists(), "the socket is left behind");
    assert!(sidecar.log().contains("every request was answered"), "{}", sidecar.log());
    // What was answered is there.
    let again = Sidecar::dev_in(sidecar.directory());
    let token = answer.json()["token"].as_str().unwrap().to_owned();
    assert_eq!(again.detokenize(&token).json()["value"], "4111 1111 1111 1111");
}

fn refused(sidecar: &Sidecar) -> bool {
    match UnixStream::connect(sidecar.socket()) {
        Ok(_) => false,
        Err(error) => {
            matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound)
        }
    }
}

#[test]
fn a_stop_does_not_wait_for_ever() {
    let mut sidecar = Sidecar::serve("[limits]\ndrain_time = \"1s\"\n");
    let mut at_work = half_a_request(&sidecar);
    let stopped = Instant::now();
    sidecar.signal(Signal::TERM);
    assert_eq!(sidecar.wait().code(), Some(0));
    near(stopped.elapsed(), Duration::from_secs(1));
    assert!(sidecar.log().contains("some requests took too long"), "{}", sidecar.log());
    assert!(at_work.closed());
}

/// A file that never answers stands for a volume that hangs, and for a name server that is silent.
#[test]
fn a_stop_does_not_wait_for_a_thread_that_hangs() {
    let mut sidecar = Sidecar::serve("");
    let config = sidecar.directory().join("lunasec.toml");
    fs::remove_file(&config).unwrap();
    mknodat(CWD, &config, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    sidecar.signal(Signal::HUP);
    // A writer gets in as soon as the sidecar reads, and says nothing.
    let _writer = OpenOptions::new().write(true).open(&config).unwrap();
    assert_eq!(sidecar.detokenize(&unknown_token()).status, 404);
    let stopped = Instant::now();
    sidecar.signal(Signal::TERM);
    assert_eq!(sidecar.wait().code(), Some(0));
    assert!(stopped.elapsed() < Duration::from_secs(5), "{:?}", stopped.elapsed());
}

#[test]
fn whoever_does_nothing_makes_room_in_a_crowd() {
    let sidecar = Sidecar::serve("[limits]\nconnections = 8\n");
    let mut idle: Vec<Raw> = (0..7).map(|_| sidecar.connect()).collect();
    for connection in &mut idle[..4] {
        connection.send(status()).unwrap();
        assert_eq!(connection.answer().unwrap().status, 200);
    }
    let mut busy = sidecar.connect();
    let mut ask = || {
        busy.send(status()).unwrap();
        assert_eq!(busy.answer().unwrap().status, 200);
    };
    let gone = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !gone.load(Ordering::Relaxed) {
                ask();
                thread::sleep(Duration::from_millis(50));
            }
            ask();
        });
        let all = idle.iter_mut().all(Raw::closed);
        gone.store(true, Ordering::Relaxed);
        assert!(all);
    });
    assert_eq!(sidecar.detokenize(&unknown_token()).status, 404);
}
