//! The admin listener: it tells how the sidecar is, in words that nobody else chose, and nothing more.

use std::{
    collections::HashMap,
    net::TcpStream,
    time::{Instant, UNIX_EPOCH},
};

use lunasec_core::limits;
use lunasec_tests::{
    Answer, Sidecar,
    raw::{Raw, connect_tcp, connect_tcp_from, get_tcp, head, request},
    sidecar::random_hex,
};
use serde_json::json;

/// Sends bytes to the admin listener.
fn admin(sidecar: &Sidecar, bytes: impl AsRef<[u8]>) -> Answer {
    let mut connection = connect_tcp(&sidecar.admin());
    connection.send(bytes).unwrap();
    connection.answer().unwrap()
}

/// Asks on one connection, again and again.
struct Monitor {
    address: String,
    connection: Raw<TcpStream>,
    answered: Instant,
}

impl Monitor {
    fn of(address: String) -> Self {
        Self { connection: connect_tcp(&address), answered: Instant::now(), address }
    }

    /// A connection that was silent for the listener's own time may have been closed for that, and is made anew: then
    /// this machine was slow, and nobody has cut it.
    fn ask(&mut self) {
        let live = head("GET", "/live", &[("host", "localhost")]);
        let _ = self.connection.send(&live);
        let answer = self.connection.answer_or_close().unwrap_or_else(|| {
            let silent = self.answered.elapsed();
            assert!(silent >= limits::ADMIN_HEAD_TIME, "cut after a silence of {silent:?}");
            self.connection = connect_tcp(&self.address);
            self.connection.send(&live).unwrap();
            self.connection.answer().unwrap()
        });
        assert_eq!(answer.status, 200);
        self.answered = Instant::now();
    }
}

/// A kubelet kills a sidecar whose probe waits, and any pod of a cluster may be able to connect.
#[test]
fn whoever_holds_many_connections_keeps_nobody_from_asking() {
    let sidecar = Sidecar::dev();
    let address = sidecar.admin();
    let mut monitor = Monitor::of(address.clone());
    monitor.ask();
    let mut held: Vec<_> = (0..3 * limits::ADMIN_CONNECTIONS)
        .map(|_| {
            let connection = connect_tcp_from([127, 0, 0, 2], &address);
            monitor.ask();
            connection
        })
        .collect();
    for _ in 0..3 {
        assert_eq!(get_tcp(&address, "/live").status, 200);
    }
    // The crowd's own next one, too.
    let mut newest = connect_tcp_from([127, 0, 0, 2], &address);
    newest.send(head("GET", "/live", &[("host", "localhost")])).unwrap();
    assert_eq!(newest.answer().unwrap().status, 200);
    assert!(held[0].closed());
}

#[test]
fn the_four_routes() {
    let sidecar = Sidecar::dev();
    let address = sidecar.admin();
    for (path, kind) in [
        ("/live", "text/plain"),
        ("/ready", "text/plain"),
        ("/status", "application/json"),
        ("/metrics", "application/openmetrics-text; version=1.0.0; charset=utf-8"),
    ] {
        let answer = get_tcp(&address, path);
        assert_eq!((answer.status, answer.headers["content-type"].as_str()), (200, kind), "{path}");
        assert!(!answer.body.is_empty());
        for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
            let answer = admin(&sidecar, head(method, path, &[("host", "localhost")]));
            assert_eq!(
                (answer.status, answer.headers["allow"].as_str()),
                (405, "GET, HEAD"),
                "{path}"
            );
        }
    }
    let status = get_tcp(&address, "/status").json();
    assert_eq!(status["dependencies"]["storage"]["state"], "up");
    let mut connection = sidecar.connect();
    connection.send(head("GET", "/v1/status", &[("host", "localhost")])).unwrap();
    let mut same = connection.answer().unwrap().json();
    same["uptime_seconds"] = status["uptime_seconds"].clone();
    assert_eq!(status, same, "the socket and the admin listener tell the same");
}

#[test]
fn nothing_there_reaches_a_value() {
    let sidecar = Sidecar::dev();
    let value = random_hex(16);
    let token = sidecar.tokenize(&value);
    let body =
        json!({ "token": token, "tokens": [token], "value": "v", "items": [{ "value": "v" }] });
    for route in [
        "tokenize",
        "tokenize:batch",
        "detokenize",
        "detokenize:batch",
        "metadata/get",
        "metadata/set",
        "delete",
        "sweep",
        "status",
    ] {
        let path = format!("/v1/{route}");
        let answer = admin(&sidecar, request(&path, &[], body.to_string().as_bytes()));
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(get_tcp(&sidecar.admin(), &path).status, 404, "{path}");
    }
    for path in ["/", "/metrics/", "/status?token", "/v1/detokenize/../../metrics"] {
        let text = get_tcp(&sidecar.admin(), path).text();
        assert!(!text.contains(&value) && !text.contains(&token[8..]), "{path}");
    }
    assert_eq!(sidecar.detokenize(&token).json()["value"], value, "nothing was deleted");
}

#[test]
fn every_answer_is_counted() {
    let sidecar = Sidecar::dev();
    let token = sidecar.tokenize("v");
    for _ in 0..3 {
        sidecar.detokenize(&token);
    }
    sidecar.detokenize(&lunasec_tests::sidecar::unknown_token());
    sidecar.detokenize("4111");
    sidecar.post("/v1/nothing", &json!({}));
    let metrics = Metrics::of(&sidecar);
    for (operation, code, count) in [
        ("tokenize", "ok", 1.0),
        ("detokenize", "ok", 3.0),
        ("detokenize", "not_found", 1.0),
        ("detokenize", "invalid_token", 1.0),
        ("unknown", "not_found", 1.0),
    ] {
        let labels = [("operation", operation), ("code", code)];
        assert_eq!(metrics.value("lunasec_requests_total", &labels), count, "{operation} {code}");
    }
    let seconds = |suffix: &str, labels: &[(&str, &str)]| {
        metrics.value(&format!("lunasec_request_duration_seconds{suffix}"), labels)
    };
    assert_eq!(seconds("_count", &[("operation", "detokenize")]), 5.0);
    assert_eq!(seconds("_bucket", &[("operation", "detokenize"), ("le", "+Inf")]), 5.0);
    assert!(seconds("_sum", &[("operation", "detokenize")]) > 0.0);
    for dependency in ["storage", "keys", "state"] {
        assert_eq!(metrics.value("lunasec_dependency_up", &[("dependency", dependency)]), 1.0);
    }
    let get = [("dependency", "storage"), ("operation", "get")];
    let answered: f64 = metrics.sum("lunasec_dependency_requests_total", &get);
    // The keys and what is not there; its own value it knows.
    assert!(answered >= 2.0, "{answered}");
    let timed = metrics.value("lunasec_dependency_request_duration_seconds_count", &get);
    assert_eq!(timed, answered);
    assert!(metrics.sum("lunasec_dependency_requests_total", &[("dependency", "keys")]) >= 1.0);
    assert_eq!(metrics.sum("lunasec_build_info", &[]), 1.0);
    // An epoch is a day, and begins at midnight.
    let now = UNIX_EPOCH.elapsed().unwrap().as_secs_f64() % 86_400.0;
    let age = metrics.value("lunasec_data_key_age_seconds", &[]);
    let off = (age - now + 43_200.0).rem_euclid(86_400.0) - 43_200.0;
    assert!(off.abs() < 120.0, "{age} s, at {now} s of the day");
}

#[test]
fn caches_are_counted_and_measured() {
    let sidecar = Sidecar::dev();
    let [values, grants, keys] = ["values", "grants", "data_keys"];
    let bytes = |cache| Metrics::of(&sidecar).value("lunasec_cache_bytes", &[("cache", cache)]);
    assert_eq!((bytes(values), bytes(grants)), (0.0, 0.0));
    let requests = |cache, result| {
        let labels = [("cache", cache), ("result", result)];
        Metrics::of(&sidecar).value("lunasec_cache_requests_total", &labels)
    };
    let body = json!({ "value": "v", "metadata": { "a": 1 } });
    let token = sidecar.post("/v1/tokenize", &body).json()["token"].as_str().unwrap().to_owned();
    assert!(bytes(values) > 200.0 && bytes(keys) > 32.0);
    for _ in 0..3 {
        assert_eq!(sidecar.detokenize(&token).status, 200);
    }
    assert_eq!(sidecar.post("/v1/metadata/get", &json!({ "token": token })).status, 200);
    // The value four times, and its metadata.
    assert_eq!((requests(values, "hit"), requests(values, "miss")), (5.0, 0.0));
    assert!(requests(keys, "hit") >= 5.0 && requests(keys, "miss") >= 1.0);
    sidecar.detokenize(&lunasec_tests::sidecar::unknown_token());
    assert_eq!(requests(values, "miss"), 1.0);
    let session = json!({ "session": "s", "tokens": [token] });
    for route in ["create", "verify", "verify"] {
        assert_eq!(sidecar.post(&format!("/v1/grants/{route}"), &session).status, 200);
    }
    // Of each verify, the session and the grant.
    assert_eq!((requests(grants, "hit"), requests(grants, "miss")), (4.0, 0.0));
    assert!(bytes(grants) > 200.0);
    for cache in [values, grants, keys] {
        assert_eq!(requests(cache, "stale"), 0.0);
    }
    for reason in ["storage", "keys", "storage,keys"] {
        let name = "lunasec_degraded_answers_total";
        assert_eq!(Metrics::of(&sidecar).value(name, &[("reason", reason)]), 0.0);
    }
    let status = get_tcp(&sidecar.admin(), "/status").json();
    let caches = &status["caches"];
    // The value, its metadata, and that there is nothing; a session and its two grants.
    assert_eq!(
        (&caches["values"]["entries"], &caches["grants"]["entries"]),
        (&json!(3), &json!(3))
    );
    assert_eq!(caches["values"]["bytes"].as_f64(), Some(bytes(values)));
}

#[test]
fn no_label_holds_what_a_caller_chose() {
    let sidecar = Sidecar::dev();
    let series = |sidecar: &Sidecar| Metrics::of(sidecar).labels();
    let mark = random_hex(8);
    let namespace = format!("ns-{mark}");
    let path = format!("/v1/{mark}");
    let body = json!({ "value": mark, "metadata": { mark.as_str(): mark } }).to_string();
    let headers = [
        ("lunasec-namespace", namespace.as_str()),
        ("lunasec-session", &mark),
        ("lunasec-purpose", &mark),
        ("idempotency-key", &mark),
        ("traceparent", &mark),
        ("user-agent", &mark),
    ];
    let mut connection = sidecar.connect();
    let answer = connection.post_with("/v1/tokenize", &headers, body.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    let token = answer.json()["token"].as_str().unwrap().to_owned();
    connection.post_with(&path, &headers, body.as_bytes());
    connection.post_with("/v1/detokenize", &[("lunasec-namespace", "No Name")], b"{}");
    connection.send(head(&mark, &path, &headers)).unwrap();
    connection.answer().unwrap();
    let before = series(&sidecar);
    for label in &before {
        assert!(!label.contains(&mark) && !label.contains(&token[8..]), "{label}");
    }
    // However many namespaces there are, the series stay the same.
    for n in 0..50 {
        let namespace = format!("ns-{n}-{mark}");
        let headers = [("lunasec-namespace", namespace.as_str())];
        assert_eq!(connection.post_with("/v1/tokenize", &headers, body.as_bytes()).status, 200);
    }
    let after = series(&sidecar);
    let new: Vec<_> = after.iter().filter(|series| !before.contains(series)).collect();
    assert!(new.is_empty(), "{new:?}");
}

/// An exposition in the OpenMetrics text format, read strictly.
struct Metrics {
    samples: Vec<(String, HashMap<String, String>, f64)>,
}

impl Metrics {
    fn of(sidecar: &Sidecar) -> Self {
        Self::parse(&sidecar.metrics())
    }

    fn parse(text: &str) -> Self {
        let text = text.strip_suffix("# EOF\n").expect("it ends with EOF");
        let mut families = HashMap::new();
        let mut samples = Vec::new();
        for line in text.lines() {
            if let Some(comment) = line.strip_prefix("# ") {
                let mut words = comment.splitn(3, ' ');
                let (kind, name) = (words.next().unwrap(), words.next().unwrap());
                let rest = words.next().expect("a comment has three parts");
                assert!(matches!(kind, "HELP" | "TYPE" | "UNIT"), "{line}");
                if kind == "TYPE" {
                    assert!(families.insert(name.to_owned(), rest.to_owned()).is_none(), "{line}");
                }
                continue;
            }
            let (name, labels, value) = sample(line);
            let declared = families.iter().any(|(family, kind)| belongs(&name, family, kind));
            assert!(declared, "no TYPE before {line}");
            assert!(!samples.iter().any(|(n, l, _)| *n == name && *l == labels), "twice: {line}");
            samples.push((name, labels, value));
        }
        Self { samples }
    }

    /// The samples of a name that have these labels, among others.
    fn with<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [(&str, &str)],
    ) -> impl Iterator<Item = &'a (String, HashMap<String, String>, f64)> {
        let has = |found: &HashMap<String, String>| {
            labels
                .iter()
                .all(|(label, value)| found.get(*label).is_some_and(|found| found == value))
        };
        self.samples.iter().filter(move |(found, labels, _)| found == name && has(labels))
    }

    /// The one sample with exactly these labels.
    fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let mut exact = self.with(name, labels).filter(|(_, found, _)| found.len() == labels.len());
        let (_, _, value) = exact.next().unwrap_or_else(|| panic!("no {name} {labels:?}"));
        *value
    }

    fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.with(name, labels).map(|(_, _, value)| value).sum()
    }

    fn labels(&self) -> Vec<String> {
        let mut series: Vec<_> = self
            .samples
            .iter()
            .map(|(name, labels, _)| {
                let mut labels: Vec<_> = labels.iter().collect();
                labels.sort();
                format!("{name} {labels:?}")
            })
            .collect();
        series.sort();
        series
    }
}

/// Whether a sample's name is one of its family's.
fn belongs(name: &str, family: &str, kind: &str) -> bool {
    let suffixes: &[&str] = match kind {
        "counter" => &["_total", "_created"],
        "gauge" => &[""],
        "info" => &["_info"],
        "histogram" => &["_bucket", "_count", "_sum", "_created"],
        _ => panic!("{family} is a {kind}"),
    };
    name.strip_prefix(family).is_some_and(|suffix| suffixes.contains(&suffix))
}

fn sample(line: &str) -> (String, HashMap<String, String>, f64) {
    let (series, value) = line.rsplit_once(' ').expect("a value");
    let value = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
    let (name, labels) = match series.split_once('{') {
        Some((name, rest)) => (name, rest.strip_suffix('}').expect("an end of the labels")),
        None => (series, ""),
    };
    let is_name = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_')
    };
    assert!(is_name(name) && name.starts_with("lunasec_"), "{line}");
    // A comma may stand in a value, but not before a label.
    let labels = labels.split_inclusive("\",").filter(|label| !label.is_empty()).map(|label| {
        let label = label.strip_suffix(',').unwrap_or(label);
        let (label, value) = label.split_once('=').expect("a label has a value");
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        let value = value.expect("a label's value is quoted");
        assert!(is_name(label) && !value.contains(['"', '\\']), "{line}");
        (label.to_owned(), value.to_owned())
    });
    (name.to_owned(), labels.collect(), value)
}
