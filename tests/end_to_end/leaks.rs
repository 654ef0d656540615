//! A run of everything with the log at its most talkative: whatever the process says, none of it is a
//! token, a value, or anything else that a caller must be able to trust it with.

use lunasec_tests::{
    Sidecar,
    raw::{get_tcp, head},
    sidecar::random_hex,
};
use serde_json::{Value, json};

/// Everything that must not be seen again.
struct Planted {
    value: String,
    metadata: String,
    key: String,
    session: String,
    purpose: String,
    tokens: Vec<String>,
}

impl Planted {
    fn new() -> Self {
        let [value, metadata, key, session, purpose] = std::array::from_fn(|_| random_hex(12));
        Self { value, metadata, key, session, purpose, tokens: Vec::new() }
    }

    fn headers(&self) -> [(&str, &str); 2] {
        [("lunasec-session", &self.session), ("lunasec-purpose", &self.purpose)]
    }

    /// Tokenizes in every way there is.
    fn plant(&mut self, sidecar: &Sidecar) {
        let item = json!({ "value": self.value, "metadata": { "m": self.metadata } });
        let base64 = json!({ "value": "/wD+", "encoding": "base64", "expires_in": "1h" });
        let mut connection = sidecar.connect();
        let mut headers = self.headers().to_vec();
        headers.push(("idempotency-key", &self.key));
        let single = connection.post_with("/v1/tokenize", &headers, item.to_string().as_bytes());
        let batch =
            json!({ "items": [item, base64, { "value": self.value, "encoding": "base65" }] });
        let mixed = json!({ "items": [item, base64] });
        let refused =
            connection.post_with("/v1/tokenize:batch", &headers, batch.to_string().as_bytes());
        assert_eq!(refused.status, 400);
        let batch = connection.post_with(
            "/v1/tokenize:batch",
            &self.headers(),
            mixed.to_string().as_bytes(),
        );
        let mut tokens = vec![single.json()["token"].as_str().unwrap().to_owned()];
        for item in batch.json()["items"].as_array().unwrap() {
            tokens.push(item["token"].as_str().unwrap().to_owned());
        }
        self.tokens = tokens;
    }

    /// Asks for all of it, rightly and wrongly.
    fn ask(&self, sidecar: &Sidecar) {
        let token = &self.tokens[0];
        let (list, metadata) = (json!({ "tokens": self.tokens }), json!({ "m": self.metadata }));
        let grants = json!({ "session": self.session, "tokens": self.tokens });
        let with = |name: &str, value: &str| {
            let mut grants = grants.clone();
            grants[name] = value.into();
            grants
        };
        let requests = [
            ("detokenize", json!({ "token": token }), 200),
            ("detokenize:batch", list.clone(), 200),
            ("metadata/get", json!({ "token": token }), 200),
            ("metadata/set", json!({ "token": token, "metadata": metadata }), 200),
            ("metadata/set", json!({ "token": token, "metadata": metadata, "if_version": 9 }), 409),
            ("detokenize", json!({ "token": token, self.value.as_str(): token }), 400),
            ("detokenize", json!({ "token": self.value }), 400),
            ("detokenize", json!([token]), 400),
            (token.as_str(), json!({ "token": token }), 404),
            ("grants/create", grants.clone(), 200),
            ("grants/verify", grants.clone(), 200),
            ("grants/revoke", grants.clone(), 200),
            ("grants/revoke", json!({ "session": self.session }), 200),
            ("grants/create", with("expires_in", &self.session), 400),
            ("grants/create", with("session", &self.session.repeat(50)), 400),
            ("grants/verify", with("action", &self.value), 400),
            ("grants/revoke", with(&self.session, token), 400),
            ("grants/revoke", json!({ "session": self.session, "tokens": [self.value] }), 400),
            ("delete", list.clone(), 200),
            ("detokenize", json!({ "token": token }), 404),
            ("sweep", json!({ "dry_run": true }), 200),
        ];
        let mut connection = sidecar.connect();
        for (route, body, status) in requests {
            let (path, body) = (format!("/v1/{route}"), body.to_string());
            let answer = connection.post_with(&path, &self.headers(), body.as_bytes());
            assert_eq!(answer.status, status, "{route}: {}", answer.text());
            if status >= 400 {
                self.is_not_in("an error", &answer.text());
            }
        }
        // Nobody is configured who could prove it.
        let body = json!({ "token": token }).to_string();
        let proof = [("authorization", self.session.as_str())];
        let answer = connection.post_with("/v1/detokenize", &proof, body.as_bytes());
        assert_eq!(answer.status, 401, "{}", answer.text());
        self.is_not_in("an error", &answer.text());
        let query = format!("/v1/status?{token}");
        connection.send(head("GET", &query, &[("host", "localhost")])).unwrap();
        connection.answer().unwrap();
        // What is no request at all.
        sidecar.connect().send_what_goes(format!("{token} {} {}\r\n\r\n", self.value, self.key));
    }

    fn is_not_in(&self, what: &str, text: &str) {
        let uuids = self.tokens.iter().map(|token| &token["lunasec-".len()..]);
        let planted = [&self.value, &self.metadata, &self.key, &self.session, &self.purpose];
        for secret in planted.into_iter().map(String::as_str).chain(uuids) {
            assert!(!text.contains(secret), "{secret} is in {what}:\n{text}");
        }
    }
}

#[test]
fn nothing_that_is_said_repeats_what_was_entrusted() {
    for format in ["text", "json"] {
        let mut sidecar =
            Sidecar::dev_with(&[("LUNASEC_LOG__LEVEL", "trace"), ("LUNASEC_LOG__FORMAT", format)]);
        let mut planted = Planted::new();
        planted.plant(&sidecar);
        planted.ask(&sidecar);
        planted.is_not_in("the metrics", &sidecar.metrics());
        planted.is_not_in("the status", &get_tcp(&sidecar.admin(), "/status").text());
        // A panic would say where it was, and must not say with what; so does a second start.
        sidecar.stop();
        let log = sidecar.log();
        planted.is_not_in("the log", &log);
        let refused = log.lines().filter(|line| line.contains("request refused")).count();
        assert!(refused >= 11, "the log is not talkative enough to prove anything:\n{log}");
        if format == "json" {
            let line = log.lines().find(|line| line.contains("request refused")).unwrap();
            assert!(serde_json::from_str::<Value>(line).unwrap()["fields"]["code"].is_string());
        }
    }
}
