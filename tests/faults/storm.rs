//! Writers that write as fast as they can until the sidecar is gone, and remember what it promised.

use std::{
    collections::HashMap,
    io,
    path::PathBuf,
    sync::mpsc::{Receiver, Sender, channel},
    thread::{self, JoinHandle},
};

use lunasec_tests::{Answer, Dice, Raw, Sidecar};
use serde_json::json;

/// What was acknowledged.
#[derive(Default)]
pub(crate) struct Ledger {
    pub(crate) alive: HashMap<String, String>,
    pub(crate) deleted: Vec<String>,
}

impl Ledger {
    /// Every token opens to its value, and none of the deleted ones does.
    pub(crate) fn check(&self, sidecar: &Sidecar) {
        let alive: Vec<_> = self.alive.iter().collect();
        for chunk in alive.chunks(500) {
            let tokens: Vec<_> = chunk.iter().map(|(token, _)| token).collect();
            let answer = sidecar.post("/v1/detokenize:batch", &json!({ "tokens": tokens })).json();
            for (item, (_, value)) in answer["items"].as_array().unwrap().iter().zip(chunk) {
                assert_eq!(item["value"].as_str(), Some(value.as_str()), "lost: {item}");
            }
        }
        for chunk in self.deleted.chunks(500) {
            let answer = sidecar.post("/v1/detokenize:batch", &json!({ "tokens": chunk })).json();
            for item in answer["items"].as_array().unwrap() {
                assert_eq!(item["error"]["code"], "not_found", "came back: {item}");
            }
        }
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.alive.extend(other.alive);
        self.deleted.extend(other.deleted);
    }
}

/// Running writers.
pub(crate) struct Storm {
    writers: Vec<JoinHandle<Ledger>>,
    acknowledged: Receiver<()>,
}

impl Storm {
    pub(crate) fn begin(sidecar: &Sidecar, writers: usize) -> Self {
        let (sender, acknowledged) = channel();
        let writers = (0..writers)
            .map(|_| {
                let writer = Writer {
                    socket: sidecar.socket().to_owned(),
                    dice: Dice::new(),
                    sender: sender.clone(),
                    ledger: Ledger::default(),
                };
                thread::spawn(move || writer.run())
            })
            .collect();
        Self { writers, acknowledged }
    }

    /// Waits until that many more requests have been acknowledged.
    pub(crate) fn wait_for(&self, requests: usize) {
        for _ in 0..requests {
            self.acknowledged.recv().expect("the writers still write");
        }
    }

    /// Waits for the writers, whose sidecar is gone.
    pub(crate) fn end(self) -> Ledger {
        let mut ledger = Ledger::default();
        for writer in self.writers {
            ledger.merge(writer.join().unwrap());
        }
        ledger
    }
}

struct Writer {
    socket: PathBuf,
    dice: Dice,
    sender: Sender<()>,
    ledger: Ledger,
}

impl Writer {
    fn run(mut self) -> Ledger {
        let mut raw = Raw::connect(&self.socket);
        while self.write(&mut raw).is_ok() {
            let _ = self.sender.send(());
        }
        self.ledger
    }

    fn write(&mut self, raw: &mut Raw) -> io::Result<()> {
        match self.dice.below(10) {
            0 => self.delete(raw),
            1 => self.tokenize(raw, 20_000),
            2 => self.batch(raw),
            _ => self.tokenize(raw, 20),
        }
    }

    fn value(&mut self, length: usize) -> String {
        let mut value = self.dice.below(usize::MAX).to_string();
        value.extend(std::iter::repeat_n('v', length));
        value
    }

    fn tokenize(&mut self, raw: &mut Raw, length: usize) -> io::Result<()> {
        let value = self.value(length);
        let body = json!({ "value": value, "metadata": { "length": length } });
        let answer = post(raw, "/v1/tokenize", &body)?;
        let token = answer.json()["token"].as_str().unwrap().to_owned();
        self.ledger.alive.insert(token, value);
        Ok(())
    }

    fn batch(&mut self, raw: &mut Raw) -> io::Result<()> {
        let values: Vec<_> = (0..10).map(|_| self.value(10)).collect();
        let items: Vec<_> = values.iter().map(|value| json!({ "value": value })).collect();
        let answer = post(raw, "/v1/tokenize:batch", &json!({ "items": items }))?.json();
        for (item, value) in answer["items"].as_array().unwrap().iter().zip(values) {
            self.ledger.alive.insert(item["token"].as_str().unwrap().to_owned(), value);
        }
        Ok(())
    }

    fn delete(&mut self, raw: &mut Raw) -> io::Result<()> {
        let Some(token) = self.ledger.alive.keys().next().cloned() else { return Ok(()) };
        // From here on it may be deleted, whether or not an answer comes.
        self.ledger.alive.remove(&token);
        post(raw, "/v1/delete", &json!({ "tokens": [token] }))?;
        self.ledger.deleted.push(token);
        Ok(())
    }
}

fn post(raw: &mut Raw, path: &str, body: &serde_json::Value) -> io::Result<Answer> {
    let answer = raw.try_post_with(path, &[], body.to_string().as_bytes())?;
    assert_eq!(answer.status, 200, "{}", answer.text());
    Ok(answer)
}
