//! What must be refused, is: with a clear 4xx, at once, without repeating what was sent, and without
//! harm to anyone else.

use std::{
    net::Shutdown,
    time::{Duration, Instant},
};

use lunasec_tests::{
    Answer, Sidecar,
    raw::request,
    sidecar::{random_hex, unknown_token},
};

mod bodies;
mod heads;
mod limits;

/// Far more than any refusal takes, and less than the deadlines that would hide a hang.
const AT_ONCE: Duration = Duration::from_secs(4);

/// A sidecar, and two secrets that are planted in everything it must refuse.
struct Target {
    sidecar: Sidecar,
    /// Something like a value.
    value: String,
    /// A well-formed token.
    token: String,
}

impl Target {
    fn new() -> Self {
        let value = format!("4111{}", random_hex(12));
        // With everything logged that can be.
        let sidecar = Sidecar::dev_with(&[("LUNASEC_LOG__LEVEL", "trace")]);
        Self { sidecar, value, token: unknown_token() }
    }

    /// Puts the secrets in place of `VALUE` and `TOKEN`.
    fn plant(&self, text: &str) -> String {
        text.replace("VALUE", &self.value).replace("TOKEN", &self.token)
    }

    /// Sends bytes and nothing after them, and reads what comes: an answer, or a close.
    fn send(&self, name: &str, bytes: &[u8]) -> Option<Answer> {
        let started = Instant::now();
        let mut connection = self.sidecar.connect();
        connection.send_what_goes(bytes);
        let _ = connection.stream.shutdown(Shutdown::Write);
        let answer = connection.answer_or_close();
        assert!(started.elapsed() < AT_ONCE, "{name}: took {:?}", started.elapsed());
        if let Some(answer) = &answer {
            self.keeps_secrets(name, &answer.text());
            for (header, value) in &answer.headers {
                self.keeps_secrets(name, &format!("{header}: {value}"));
            }
        }
        answer
    }

    fn keeps_secrets(&self, name: &str, text: &str) {
        // The random part of each is enough to give it away.
        for secret in [&self.value[4..], &self.token[8..]] {
            assert!(!text.contains(secret), "{name} is repeated: {text}");
        }
    }

    /// Sends what must be refused with this status and code.
    fn refuses(&self, name: &str, bytes: &[u8], status: u16, code: &str) -> String {
        let answer = self.send(name, bytes).unwrap_or_else(|| panic!("{name}: no answer"));
        let text = answer.text();
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{name}: {text}");
        assert_eq!(answer.headers["content-type"], "application/problem+json", "{name}");
        answer.json()["detail"].as_str().unwrap().to_owned()
    }

    /// A POST of a body with planted secrets.
    fn refuses_body(&self, path: &str, body: &str, code: &str) -> String {
        let name: String = body.chars().take(80).collect();
        let status = if code == "payload_too_large" { 413 } else { 400 };
        self.refuses(&name, &request(path, &[], self.plant(body).as_bytes()), status, code)
    }

    /// Sends what must be answered.
    fn accepts(&self, name: &str, bytes: &[u8]) -> Answer {
        let answer = self.send(name, bytes).unwrap_or_else(|| panic!("{name}: no answer"));
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
        answer
    }

    /// After all that: it serves, and its log has none of it.
    fn assert_unharmed(mut self) {
        let token = self.sidecar.tokenize("unharmed");
        assert_eq!(self.sidecar.detokenize(&token).json()["value"], "unharmed");
        let failed = ["internal", "corrupted", "deadline_exceeded"];
        for line in self.sidecar.metrics().lines() {
            let failed = failed.iter().any(|code| line.contains(&format!("code=\"{code}\"")));
            assert!(!failed, "{line}");
        }
        self.keeps_secrets("the metrics", &self.sidecar.metrics());
        self.sidecar.stop();
        let log = self.sidecar.log();
        self.keeps_secrets("the log", &log);
        for word in ["ERROR", "WARN", "panicked"] {
            assert!(!log.contains(word), "{log}");
        }
    }
}
