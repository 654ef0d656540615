//! Clients that do what applications do, in any order, and write down what they were promised.

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread::{self, JoinHandle},
};

use lunasec_tests::{Answer, Dice, Raw, Sidecar, sidecar::PATIENCE};
use serde_json::{Value, json};

/// What may be answered instead of doing it, while something is away. All of them may be tried again.
const REFUSALS: [&str; 6] = [
    "storage_unavailable",
    "keys_unavailable",
    "journal_full",
    "overloaded",
    "deadline_exceeded",
    "conflict",
];

/// A session, and the token that it was given.
type Grant = (String, String);

/// What one client was promised. What was asked for and not acknowledged may have happened or not: then nothing is
/// promised of it any more.
#[derive(Default)]
pub(crate) struct Book {
    /// Tokens, and what they open to.
    alive: HashMap<String, String>,
    /// Of tokens, what their metadata may be: what was acknowledged last, and what was tried since.
    metadata: HashMap<String, Vec<u64>>,
    granted: Vec<Grant>,
    revoked: Vec<Grant>,
    deleted: Vec<String>,
    /// How many requests were acknowledged, of them how many by the journal, and how many refused.
    pub(crate) acknowledged: usize,
    pub(crate) journaled: usize,
    pub(crate) refused: usize,
    /// For values, sessions and metadata, none of which comes twice.
    number: u64,
}

impl Book {
    /// How much of it can be checked.
    pub(crate) fn promises(&self) -> usize {
        self.alive.len()
            + self.metadata.len()
            + self.granted.len()
            + self.revoked.len()
            + self.deleted.len()
    }

    /// Everything that was not kept, in words.
    pub(crate) fn broken(&self, sidecar: &Sidecar) -> Vec<String> {
        let mut broken = Vec::new();
        self.check_values(sidecar, &mut broken);
        self.check_metadata(sidecar, &mut broken);
        self.check_grants(sidecar, &mut broken);
        broken
    }

    fn check_grants(&self, sidecar: &Sidecar, broken: &mut Vec<String>) {
        let mut raw = sidecar.connect();
        for grant in &self.granted {
            let item = verify(&mut raw, grant).unwrap();
            if item["valid"] != true {
                broken.push(format!("granted: {item}"));
            }
        }
        for grant in &self.revoked {
            let item = verify(&mut raw, grant).unwrap();
            // Its token may have been deleted as well.
            if item["valid"] != false && item["error"]["code"] != "not_found" {
                broken.push(format!("revoked: {item}"));
            }
        }
    }

    fn check_values(&self, sidecar: &Sidecar, broken: &mut Vec<String>) {
        let alive: Vec<_> = self.alive.iter().map(|(token, value)| (token, Some(value))).collect();
        let deleted: Vec<_> = self.deleted.iter().map(|token| (token, None)).collect();
        for chunk in [alive, deleted].concat().chunks(500) {
            let tokens: Vec<_> = chunk.iter().map(|(token, _)| token).collect();
            let answer = sidecar.post("/v1/detokenize:batch", &json!({ "tokens": tokens })).json();
            for (item, (_, value)) in answer["items"].as_array().unwrap().iter().zip(chunk) {
                match value {
                    Some(value) if item["value"] == **value => {}
                    None if item["error"]["code"] == "not_found" => {}
                    Some(value) => broken.push(format!("lost: {value:.20} is {item}")),
                    None => broken.push(format!("came back: {item}")),
                }
            }
        }
    }

    fn check_metadata(&self, sidecar: &Sidecar, broken: &mut Vec<String>) {
        let mut raw = sidecar.connect();
        for (token, possible) in &self.metadata {
            let answer = raw.post("/v1/metadata/get", &json!({ "token": token })).json();
            let there = answer["metadata"]["number"].as_u64();
            if !there.is_some_and(|there| possible.contains(&there)) {
                broken.push(format!("metadata that may be {possible:?}: {answer}"));
            }
        }
    }
}

/// Running clients, each with a book of its own.
pub(crate) struct Clients {
    clients: Vec<JoinHandle<Book>>,
    acknowledged: Receiver<()>,
    stop: Arc<AtomicBool>,
}

impl Clients {
    /// They go on with what they have in their books.
    pub(crate) fn begin(sidecar: &Sidecar, books: Vec<Book>) -> Self {
        let (sender, acknowledged) = channel();
        let stop = Arc::new(AtomicBool::new(false));
        let client = |(name, book): (usize, Book)| Client {
            socket: sidecar.socket().to_owned(),
            name,
            dice: Dice::new(),
            sender: sender.clone(),
            stop: Arc::clone(&stop),
            book,
        };
        let clients = books.into_iter().enumerate().map(client);
        let clients = clients.map(|client| thread::spawn(move || client.run())).collect();
        Self { clients, acknowledged, stop }
    }

    /// Waits until that many more requests have been acknowledged.
    pub(crate) fn wait_for(&self, requests: usize) {
        for _ in 0..requests {
            self.acknowledged.recv_timeout(PATIENCE).expect("requests are acknowledged in time");
        }
    }

    /// Lets them finish what they are at; their books.
    pub(crate) fn end(self) -> Vec<Book> {
        self.stop.store(true, Ordering::SeqCst);
        self.clients.into_iter().map(|client| client.join().unwrap()).collect()
    }
}

struct Client {
    socket: PathBuf,
    name: usize,
    dice: Dice,
    sender: Sender<()>,
    stop: Arc<AtomicBool>,
    book: Book,
}

impl Client {
    /// Until it is told to end, or its sidecar is gone.
    fn run(mut self) -> Book {
        let Some(mut raw) = connect(&self.socket) else { return self.book };
        while !self.stop.load(Ordering::SeqCst) && self.act(&mut raw).is_ok() {}
        self.book
    }

    fn act(&mut self, raw: &mut Raw) -> io::Result<()> {
        match self.dice.below(12) {
            0..3 => self.tokenize(raw),
            3 => self.batch(raw),
            4 => self.metadata(raw),
            5..7 => self.grant(raw),
            7 => self.revoke(raw),
            8 => self.delete(raw),
            9 => self.read_alive(raw),
            10 => self.read_deleted(raw),
            _ => self.verify_revoked(raw),
        }
    }

    fn next(&mut self) -> u64 {
        self.book.number += 1;
        self.book.number
    }

    fn value(&mut self) -> String {
        let length = if self.dice.below(20) == 0 { 20_000 } else { 20 };
        let number = self.next();
        format!("{} {number} {}", self.name, "v".repeat(length))
    }

    fn alive(&mut self) -> Option<String> {
        let count = self.book.alive.len();
        (count > 0).then(|| self.book.alive.keys().nth(self.dice.below(count)).unwrap().clone())
    }

    fn tokenize(&mut self, raw: &mut Raw) -> io::Result<()> {
        let value = self.value();
        if let Some(answer) = self.post(raw, "/v1/tokenize", &json!({ "value": value }))? {
            self.book.alive.insert(text(&answer["token"]), value);
        }
        Ok(())
    }

    fn batch(&mut self, raw: &mut Raw) -> io::Result<()> {
        let values: Vec<_> = (0..5).map(|_| self.value()).collect();
        let items: Vec<_> = values.iter().map(|value| json!({ "value": value })).collect();
        let Some(answer) = self.post(raw, "/v1/tokenize:batch", &json!({ "items": items }))? else {
            return Ok(());
        };
        for (item, value) in answer["items"].as_array().unwrap().iter().zip(values) {
            if is_done(item) {
                self.book.alive.insert(text(&item["token"]), value);
            }
        }
        Ok(())
    }

    fn metadata(&mut self, raw: &mut Raw) -> io::Result<()> {
        let Some(token) = self.alive() else { return Ok(()) };
        let number = self.next();
        // With what was acknowledged, if anything was.
        if let Some(possible) = self.book.metadata.get_mut(&token) {
            possible.push(number);
        }
        let body = json!({ "token": token, "metadata": { "number": number } });
        if self.post(raw, "/v1/metadata/set", &body)?.is_some() {
            self.book.metadata.insert(token, vec![number]);
        }
        Ok(())
    }

    fn grant(&mut self, raw: &mut Raw) -> io::Result<()> {
        let Some(token) = self.alive() else { return Ok(()) };
        let number = self.next();
        let session = format!("session {} {number}", self.name);
        let body = json!({ "session": session, "tokens": [token], "expires_in": "1h" });
        if let Some(answer) = self.post(raw, "/v1/grants/create", &body)?
            && is_done(&answer["items"][0])
        {
            self.book.granted.push((session, token));
        }
        Ok(())
    }

    /// One of a session's, or all of them.
    fn revoke(&mut self, raw: &mut Raw) -> io::Result<()> {
        if self.book.granted.is_empty() {
            return Ok(());
        }
        let at = self.dice.below(self.book.granted.len());
        let (session, token) = self.book.granted.swap_remove(at);
        let mut body = json!({ "session": session });
        if self.dice.below(2) == 0 {
            body["tokens"] = json!([token]);
        }
        if self.post(raw, "/v1/grants/revoke", &body)?.is_some() {
            self.book.revoked.push((session, token));
        }
        Ok(())
    }

    fn delete(&mut self, raw: &mut Raw) -> io::Result<()> {
        let Some(token) = self.alive() else { return Ok(()) };
        self.book.alive.remove(&token);
        self.book.metadata.remove(&token);
        self.book.granted.retain(|(_, granted)| *granted != token);
        if let Some(answer) = self.post(raw, "/v1/delete", &json!({ "tokens": [token] }))?
            && is_done(&answer["items"][0])
        {
            self.book.deleted.push(token);
        }
        Ok(())
    }

    fn read_alive(&mut self, raw: &mut Raw) -> io::Result<()> {
        let Some(token) = self.alive() else { return Ok(()) };
        if let Some(answer) = self.post(raw, "/v1/detokenize", &json!({ "token": token }))? {
            assert_eq!(answer["value"], self.book.alive[&token]);
        }
        Ok(())
    }

    fn read_deleted(&mut self, raw: &mut Raw) -> io::Result<()> {
        let count = self.book.deleted.len();
        if count == 0 {
            return Ok(());
        }
        let token = &self.book.deleted[self.dice.below(count)];
        let answer = post(raw, "/v1/detokenize", &json!({ "token": token }))?;
        let code = answer.code();
        assert!(code == "not_found" || is_refusal(&code), "deleted: {}", answer.text());
        Ok(())
    }

    fn verify_revoked(&mut self, raw: &mut Raw) -> io::Result<()> {
        let count = self.book.revoked.len();
        if count == 0 {
            return Ok(());
        }
        let item = verify(raw, &self.book.revoked[self.dice.below(count)])?;
        assert_ne!(item["valid"], true, "revoked: {item}");
        Ok(())
    }

    /// An answer, or none where it was refused.
    fn post(&mut self, raw: &mut Raw, path: &str, body: &Value) -> io::Result<Option<Value>> {
        let answer = post(raw, path, body)?;
        if answer.status != 200 {
            assert!(is_refusal(&answer.code()), "{path}: {}", answer.text());
            self.book.refused += 1;
            return Ok(None);
        }
        let text = answer.text();
        self.book.acknowledged += 1;
        self.book.journaled += usize::from(text.contains("\"journaled\""));
        // Nobody may wait for it any more.
        let _ = self.sender.send(());
        Ok(Some(answer.json()))
    }
}

/// None where the sidecar is gone already.
fn connect(socket: &Path) -> Option<Raw> {
    std::os::unix::net::UnixStream::connect(socket).ok().map(Raw::over)
}

fn post(raw: &mut Raw, path: &str, body: &Value) -> io::Result<Answer> {
    raw.try_post_with(path, &[], body.to_string().as_bytes())
}

fn verify(raw: &mut Raw, (session, token): &Grant) -> io::Result<Value> {
    let answer = post(raw, "/v1/grants/verify", &json!({ "session": session, "tokens": [token] }))?;
    if answer.status != 200 {
        assert!(is_refusal(&answer.code()), "{}", answer.text());
        return Ok(answer.json());
    }
    Ok(answer.json()["items"][0].clone())
}

fn is_refusal(code: &str) -> bool {
    REFUSALS.contains(&code)
}

/// Whether an item of a list was done; what was not must have been refused.
fn is_done(item: &Value) -> bool {
    let Some(code) = item["error"]["code"].as_str() else { return true };
    assert!(is_refusal(code), "{item}");
    false
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}
