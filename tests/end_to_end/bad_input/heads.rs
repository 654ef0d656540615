//! Request lines and headers that are not what HTTP or a route takes.

use lunasec_tests::raw::{head, request};

use super::Target;

const INVALID: &str = "invalid_request";
const BODY: &str = "{\"value\": \"VALUE\"}";

impl Target {
    /// What is not HTTP is refused by a bare 4xx, or by a close.
    fn refuses_bytes(&self, name: &str, bytes: &[u8]) {
        if let Some(answer) = self.send(name, bytes) {
            assert!((400..500).contains(&answer.status), "{name}: {}", answer.status);
        }
    }

    /// The same for a tokenize of a value with these lines among its headers.
    fn refuses_lines(&self, lines: &str) {
        let body = self.plant(BODY);
        let lines = self.plant(lines).replace("LENGTH", &body.len().to_string());
        self.refuses_framed(&lines, &body);
    }

    /// The same for a tokenize of whatever these lines make of the body.
    fn refuses_framed(&self, lines: &str, body: &str) {
        let bytes = format!(
            "POST /v1/tokenize HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{lines}\r\n\r\n{body}"
        );
        let name: String = format!("{lines} {body}").chars().take(100).collect();
        self.refuses_bytes(&name, bytes.as_bytes());
        assert_eq!(self.sidecar.stored_records(), 0, "{name}: something was stored");
    }

    fn tokenize_with(&self, headers: &[(&str, &str)]) -> Vec<u8> {
        request("/v1/tokenize", headers, self.plant(BODY).as_bytes())
    }
}

#[test]
fn unknown_routes() {
    let target = Target::new();
    for path in [
        "/",
        "/v1",
        "/v1/",
        "/v2/tokenize",
        "/v1/TOKEN",
        "/v1/tokenize/TOKEN",
        "/v1/Tokenize",
        "/v1/tokenize/",
        "//v1/tokenize",
        "/v1//tokenize",
        "/v1/./tokenize",
        "/v1/x/../tokenize",
        "/v1/%74okenize",
        "/v1/tokenize%00",
        "/v1/tokenize;VALUE",
        "/v1/tokenize:BATCH",
        "/metrics",
        "/live",
        "/?token=TOKEN",
        "*",
    ] {
        let path = target.plant(path);
        let post = request(&path, &[], target.plant(BODY).as_bytes());
        target.refuses(&path, &post, 404, "not_found");
        let get = head("GET", &path, &[("host", "localhost")]);
        target.refuses(&path, get.as_bytes(), 404, "not_found");
    }
    target.assert_unharmed();
}

#[test]
fn wrong_methods() {
    let target = Target::new();
    let posts = [
        "tokenize",
        "tokenize:batch",
        "detokenize",
        "detokenize:batch",
        "metadata/get",
        "metadata/set",
        "delete",
        "sweep",
    ];
    let routes = posts.iter().map(|route| (*route, "POST")).chain([("status", "GET")]);
    for (route, right) in routes {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "VALUE", "post"]
        {
            if method == right {
                continue;
            }
            let (method, path) = (target.plant(method), format!("/v1/{route}"));
            let name = format!("{method} {path}");
            let bytes = head(&method, &path, &[("host", "localhost")]);
            let answer = target.send(&name, bytes.as_bytes()).unwrap();
            assert_eq!(
                (answer.status, answer.code().as_str()),
                (405, "method_not_allowed"),
                "{name}"
            );
            assert_eq!(answer.headers["allow"], right, "{name}");
        }
    }
    target.assert_unharmed();
}

#[test]
fn content_types_other_than_json() {
    let target = Target::new();
    for kind in [
        "",
        "text/plain",
        "text/json",
        "application/json5",
        "application/jsonl",
        "application/problem+json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=VALUE",
        "application/grpc",
        "VALUE",
        "; application/json",
        "\"application/json\"",
    ] {
        let kind = target.plant(kind);
        let bytes = target.tokenize_with(&[("content-type", &kind)]);
        target.refuses(&kind, &bytes, 415, "unsupported_media_type");
    }
    let body = target.plant(BODY);
    let without = head("POST", "/v1/tokenize", &[("content-length", body.len().to_string())]);
    let bytes = [without, body].concat();
    target.refuses("no content-type", bytes.as_bytes(), 415, "unsupported_media_type");
    for kind in [
        "application/json",
        "Application/JSON",
        "application/json; charset=utf-8",
        " application/json ;x",
    ] {
        target.accepts(kind, &target.tokenize_with(&[("content-type", kind)]));
    }
    target.assert_unharmed();
}

#[test]
fn headers_that_the_contract_knows_with_values_that_it_does_not() {
    let target = Target::new();
    let long = "n".repeat(64);
    for name in
        ["", "VALUE", "TOKEN.", "-a", "A", "a b", "a,b", "default, default", "../x", "a\tb", &long]
    {
        let name = target.plant(name).replace("4111", "X");
        let bytes = target.tokenize_with(&[("lunasec-namespace", &name)]);
        target.refuses(&name, &bytes, 400, "invalid_namespace");
    }
    let long = "k".repeat(256);
    for key in ["", "a b", "a\tb", &long] {
        let bytes = target.tokenize_with(&[("idempotency-key", key)]);
        target.refuses(key, &bytes, 400, INVALID);
    }
    for header in ["lunasec-namespace", "idempotency-key"] {
        for values in [["a", "a"], ["a", "b"], ["", ""]] {
            let bytes = target.tokenize_with(&[(header, values[0]), (header, values[1])]);
            let detail = target.refuses(header, &bytes, 400, INVALID);
            assert!(detail.contains(header), "{detail}");
        }
    }
    for (header, code) in [("lunasec-namespace", "invalid_namespace"), ("idempotency-key", INVALID)]
    {
        let bytes = target.tokenize_with(&[(header, "é")]);
        target.refuses(header, &bytes, 400, code);
    }
    let latin = [
        b"POST /v1/tokenize HTTP/1.1\r\nhost: l\r\nlunasec-session: \xe9\r\n",
        &b"content-length: 0\r\n\r\n"[..],
    ]
    .concat();
    let detail = target.refuses("not UTF-8", &latin, 400, INVALID);
    assert!(detail.contains("lunasec-session"), "{detail}");
    assert_eq!(target.sidecar.stored_records(), 0);
    // Other headers may hold anything that HTTP lets through.
    target.accepts(
        "a strange header",
        &target.tokenize_with(&[("x-name", "é\u{80}ÿ"), ("x-name", "")]),
    );
    target.assert_unharmed();
}

#[test]
fn heads_that_are_too_large() {
    let target = Target::new();
    let fits = "h".repeat(15 << 10);
    target.accepts("15 KiB", &target.tokenize_with(&[("x-large", &fits)]));
    for size in [16 << 10, 100_000, 1 << 20] {
        let large = format!("{}{}", target.value, "h".repeat(size));
        target.refuses_bytes("a large header", &target.tokenize_with(&[("x-large", &large)]));
        target.refuses_bytes("a large name", &target.tokenize_with(&[(&large, "1")]));
        target.refuses_bytes(
            "a large namespace",
            &target.tokenize_with(&[("lunasec-namespace", &large)]),
        );
        target.refuses_bytes("a long path", &request(&format!("/{large}"), &[], b"{}"));
        let path = format!("/v1/tokenize?{large}");
        target.refuses_bytes("a long query", &request(&path, &[], target.plant(BODY).as_bytes()));
        target.refuses_bytes("a long method", head(&large, "/v1/status", &[("a", "b")]).as_bytes());
    }
    let names: Vec<String> = (0..1_000).map(|n| format!("x-{n}")).collect();
    let many = |count: usize| names[..count].iter().map(|name| (&**name, "1")).collect::<Vec<_>>();
    // Of the 64, three are a POST's own.
    target.accepts("64 headers", &target.tokenize_with(&many(61)));
    target.refuses_bytes("65 headers", &target.tokenize_with(&many(62)));
    target.refuses_bytes("1,003 headers", &target.tokenize_with(&many(1_000)));
    assert_eq!(target.sidecar.stored_records(), 1 + 1);
    target.assert_unharmed();
}

#[test]
fn lengths_that_are_none() {
    let target = Target::new();
    for lines in [
        "content-length: -1",
        "content-length: +17",
        "content-length: VALUE",
        "content-length: 0x11",
        "content-length: 1e2",
        "content-length: 17.0",
        "content-length:",
        "content-length: 18446744073709551615",
        "content-length: 18446744073709551616",
        "content-length: 99999999999999999999999999",
        "content-length: 17, 18",
        "content-length: 17\r\ncontent-length: 18",
        "transfer-encoding: VALUE",
        "transfer-encoding: identity",
        "transfer-encoding: chunked, identity",
        "transfer-encoding: gzip",
        "transfer-encoding: chunked, VALUE",
        "transfer-encoding:",
        // As chunks, the body that follows is nonsense: it is never taken by its length.
        "transfer-encoding: chunked",
        "content-length: LENGTH\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: LENGTH",
        "content-length: LENGTH\r\ntransfer-encoding: identity",
    ] {
        target.refuses_lines(lines);
    }
    target.assert_unharmed();
}

#[test]
fn where_both_framings_are_given_what_follows_is_no_second_request() {
    let target = Target::new();
    let second = target.tokenize_with(&[]);
    let body = format!("0\r\n\r\n{}", String::from_utf8(second).unwrap());
    for framing in [
        format!("content-length: {}\r\ntransfer-encoding: chunked", body.len()),
        format!("transfer-encoding: chunked\r\ncontent-length: {}", body.len()),
    ] {
        target.refuses_framed(&framing, &body);
    }
    target.assert_unharmed();
}

#[test]
fn chunks_that_are_none() {
    let target = Target::new();
    let body = target.plant(BODY);
    let size = format!("{:x}", body.len());
    for chunks in [
        "VALUE\r\nBODY\r\n0\r\n\r\n",
        "-1\r\nBODY\r\n0\r\n\r\n",
        "0xSIZE\r\nBODY\r\n0\r\n\r\n",
        "SIZE BODY\r\n0\r\n\r\n",
        "\r\nBODY\r\n0\r\n\r\n",
        "fffffffffffffffff\r\nBODY\r\n0\r\n\r\n",
        "ffffffffffffffff\r\nBODY\r\n0\r\n\r\n",
        "1\r\nBODY\r\n0\r\n\r\n",
        "SIZE\r\nBODY0\r\n\r\n",
        "SIZE\r\nBODY",
        "SIZE\r\nBODY\r\n",
        "SIZE\r\nBODY\r\n0\r\n",
        "SIZE",
        "SIZE\r\nBODY\r\n0\r\nVALUE\r\n\r\n",
        "SIZE\nBODY\n0\n\n",
        "EXTENSION",
    ] {
        let chunks = match chunks {
            // Extensions of a chunk cost nothing and may not go on for ever.
            "EXTENSION" => format!("{size};{}\r\n{body}\r\n0\r\n\r\n", "VALUE".repeat(20_000)),
            _ => chunks.replace("SIZE", &size).replace("BODY", &body),
        };
        target.refuses_framed("transfer-encoding: chunked", &target.plant(&chunks));
    }
    let good = format!("{size};ext=1\r\n{body}\r\n0\r\nx-trailer: 1\r\n\r\n");
    let headers = [("transfer-encoding", "chunked")];
    target.accepts("chunks", &request("/v1/tokenize", &headers, good.as_bytes()));
    target.assert_unharmed();
}

#[test]
fn headers_that_are_no_http() {
    let target = Target::new();
    for line in [
        "x-name: a\r\n folded VALUE",
        "x-name: a\r\n\tfolded VALUE",
        " x-name: VALUE",
        "x-name : VALUE",
        "x name: VALUE",
        "x-näme: VALUE",
        "x-name VALUE",
        ": VALUE",
        "x-name: VALUE\0",
        "\0x-name: VALUE",
        "x-name: VALUE\x7f",
        "x-name: a\rVALUE",
        "x-name: \u{1b}[31mVALUE",
        "VALUE",
    ] {
        target.refuses_lines(&format!("{line}\r\ncontent-length: LENGTH"));
    }
    target.assert_unharmed();
}

#[test]
fn what_is_no_http_at_all() {
    let target = Target::new();
    let http1 = |line: &str| format!("{line}\r\nhost: localhost\r\n\r\n").into_bytes();
    let mut cases: Vec<Vec<u8>> = [
        "GET",
        "GET /v1/status",
        "GET  /v1/status HTTP/1.1",
        " GET /v1/status HTTP/1.1",
        "GET /v1/status HTTP/1.1 VALUE",
        "GET /v1/status HTTP/1.2",
        "GET /v1/status HTTP/2.0",
        "GET /v1/status HTTP/3",
        "GET /v1/status HTTP/0.9",
        "GET /v1/status HTTP/9999999999.1",
        "GET /v1/status http/1.1",
        "GET /v1/status VALUE/1.1",
        "GET /v1/sta tus HTTP/1.1",
        "GET /v1/sta\ttus HTTP/1.1",
        "GET /v1/status\0 HTTP/1.1",
        "GET\0 /v1/status HTTP/1.1",
        "GET v1/VALUE HTTP/1.1",
        "GET http:// HTTP/1.1",
        "GET :VALUE HTTP/1.1",
        "G@T /v1/status HTTP/1.1",
        "GÄT /v1/status HTTP/1.1",
        "HTTP/1.1 200 OK",
        "VALUE",
    ]
    .iter()
    .map(|line| http1(&target.plant(line)))
    .collect();
    cases.extend([
        // HTTP/0.9, and an end before the head's.
        b"GET /v1/status\r\n".to_vec(),
        b"GET /v1/status HTTP/1.1\r\nhost: loc".to_vec(),
        b"P".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00".to_vec(),
        // TLS, SSH, redis, a serialized Java object, and noise.
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        b"SSH-2.0-OpenSSH_9.6\r\n".to_vec(),
        b"*1\r\n$4\r\nPING\r\n".to_vec(),
        b"\xac\xed\x00\x05sr\x00".to_vec(),
        vec![0; 100_000],
        vec![b'\r'; 100_000],
        vec![b'\n'; 100_000],
        b"\r\n".repeat(50_000),
        vec![b'A'; 1 << 20],
        (0..100_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect(),
    ]);
    for case in cases {
        let name = String::from_utf8_lossy(&case[..case.len().min(60)]).into_owned();
        target.refuses_bytes(&name, &case);
    }
    target.assert_unharmed();
}
