//! A server that answers each request as a test says, and remembers what came.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use lunasec_client::{Builder, Client};
use serde_json::{Value as Json, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    sync::Notify,
};

/// One request that came.
#[derive(Clone, Debug)]
pub(crate) struct Came {
    pub(crate) path: String,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Json,
}

impl Came {
    /// The tokens that it lists, or the one that it is about.
    pub(crate) fn tokens(&self) -> Vec<String> {
        let one = std::slice::from_ref(&self.body["token"]);
        let all = self.body["tokens"].as_array().map_or(one, Vec::as_slice);
        all.iter().map(|token| token.as_str().unwrap().to_owned()).collect()
    }
}

/// What is done with a request.
pub(crate) enum Act {
    Answer(u16, Json),
    /// The same, after a time.
    Late(std::time::Duration, u16, Json),
    /// Two successes at once.
    Twice(Json, Json),
    /// These bytes, and then the end of the connection.
    Bytes(Vec<u8>),
    /// Nothing, until the client goes away.
    Hang,
}

/// A success.
pub(crate) fn ok(body: Json) -> Act {
    Act::Answer(200, body)
}

pub(crate) fn problem(status: u16, code: &str, retryable: bool) -> Act {
    Act::Answer(
        status,
        json!({ "type": format!("urn:lunasec:error:{code}"), "title": "words", "status": status, "code": code, "detail": "words", "retryable": retryable }),
    )
}

pub(crate) fn item(token: &str) -> Json {
    json!({ "token": token, "value": format!("value of {token}"), "encoding": "utf8" })
}

/// Every token's value is `value of` it.
pub(crate) fn reveal(came: &Came) -> Act {
    let tokens = came.tokens();
    if came.path == "/v1/detokenize" {
        ok(item(&tokens[0]))
    } else {
        ok(json!({ "items": tokens.iter().map(|token| item(token)).collect::<Vec<_>>() }))
    }
}

type Decide = dyn Fn(&Came, usize) -> Act + Send + Sync;

pub(crate) struct Scripted {
    directory: TempDir,
    came: Arc<Mutex<Vec<Came>>>,
    news: Arc<Notify>,
}

impl Scripted {
    /// Answers by this function, which is told the number of requests before.
    pub(crate) fn new(decide: impl Fn(&Came, usize) -> Act + Send + Sync + 'static) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("s.sock")).unwrap();
        let (came, news) = (Arc::<Mutex<Vec<Came>>>::default(), Arc::new(Notify::new()));
        let decide: Arc<Decide> = Arc::new(decide);
        let (all, told) = (Arc::clone(&came), Arc::clone(&news));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(
                    stream,
                    Arc::clone(&decide),
                    Arc::clone(&all),
                    Arc::clone(&told),
                ));
            }
        });
        Self { directory, came, news }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("s.sock")
    }

    pub(crate) fn builder(&self) -> Builder {
        let short = std::time::Duration::from_millis(1);
        Client::builder().socket(self.socket()).pause(short).pause_most(short)
    }

    pub(crate) fn client(&self) -> Client {
        self.builder().build().unwrap()
    }

    /// All that came so far.
    pub(crate) fn came(&self) -> Vec<Came> {
        self.came.lock().unwrap().clone()
    }

    /// Waits until so many came.
    pub(crate) async fn have_come(&self, count: usize) {
        loop {
            let news = self.news.notified();
            if self.came.lock().unwrap().len() >= count {
                return;
            }
            news.await;
        }
    }
}

async fn serve(
    mut stream: UnixStream,
    decide: Arc<Decide>,
    all: Arc<Mutex<Vec<Came>>>,
    news: Arc<Notify>,
) {
    let mut buffer = Vec::new();
    while let Some(came) = request(&mut stream, &mut buffer).await {
        let before = {
            let mut all = all.lock().unwrap();
            all.push(came.clone());
            all.len() - 1
        };
        news.notify_waiters();
        news.notify_one();
        let act = decide(&came, before);
        let (bytes, last) = match act {
            Act::Answer(status, body) => (answer(status, &body), false),
            Act::Late(after, status, body) => {
                tokio::time::sleep(after).await;
                (answer(status, &body), false)
            }
            Act::Twice(first, second) => {
                ([answer(200, &first), answer(200, &second)].concat(), false)
            }
            Act::Bytes(bytes) => (bytes, true),
            Act::Hang => {
                let _ = stream.read(&mut [0; 1]).await;
                return;
            }
        };
        if stream.write_all(&bytes).await.is_err() || last {
            return;
        }
    }
}

async fn request(stream: &mut UnixStream, buffer: &mut Vec<u8>) -> Option<Came> {
    loop {
        // A head is no longer, and a body of megabytes is not to be looked through again and again.
        let start = &buffer[..buffer.len().min(64 << 10)];
        if let Some(end) = start.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8(buffer[..end].to_vec()).unwrap();
            let mut lines = head.split("\r\n");
            let path = lines.next().unwrap().split(' ').nth(1).unwrap().to_owned();
            let headers: HashMap<_, _> = lines
                .map(|line| line.split_once(": ").unwrap())
                .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
                .collect();
            let length: usize =
                headers.get("content-length").map_or(0, |text| text.parse().unwrap());
            if buffer.len() >= end + 4 + length {
                let body = serde_json::from_slice(&buffer[end + 4..end + 4 + length]);
                buffer.drain(..end + 4 + length);
                return Some(Came { path, headers, body: body.unwrap_or(Json::Null) });
            }
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}

fn answer(status: u16, body: &Json) -> Vec<u8> {
    let kind = if status < 400 { "application/json" } else { "application/problem+json" };
    let body = body.to_string();
    let length = body.len();
    format!("HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nlunasec-request-id: request-7\r\n\r\n{body}").into_bytes()
}
