//! The adapter of the contract's harness: see tests/contract/README.md for the lines it reads and writes. Calls gather, as
//! those of a page do; with LUNASEC_ADAPTER_APART, each is a request of its own.

#![allow(clippy::unwrap_used, reason = "the harness reports an adapter that ends")]

mod calls;
mod words;

use std::{
    collections::HashMap,
    io::{Write, stdout},
    sync::{Arc, Mutex},
    time::Duration,
};

use lunasec_client::{Client, Error};
use serde::Deserialize;
use serde_json::{Value as Json, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader, stdin},
    task::AbortHandle,
};

/// What a message of the harness may say.
#[derive(Deserialize)]
struct Message {
    id: u64,
    open: Option<Open>,
    call: Option<String>,
    abort: Option<u64>,
    #[serde(default)]
    arguments: Json,
    #[serde(default)]
    options: Options,
}

#[derive(Deserialize)]
struct Open {
    socket: String,
    options: Options,
}

/// Options in the words that all SDKs share.
#[derive(Deserialize, Default, Clone)]
#[serde(deny_unknown_fields, default)]
struct Options {
    namespace: Option<String>,
    purpose: Option<String>,
    session: Option<String>,
    jwt: Option<String>,
    deadline_ms: Option<u64>,
    idempotency_key: Option<String>,
    on_unavailable: Option<Standing>,
    attempts: Option<u32>,
    pause_ms: Option<u64>,
    pause_most_ms: Option<u64>,
    retry_budget: Option<u32>,
    start_deadline_ms: Option<u64>,
    restart_grace_ms: Option<u64>,
}

/// `fail`, `mask`, or an object that says with what.
#[derive(Deserialize, Clone)]
#[serde(untagged)]
enum Standing {
    Word(Word),
    Mask { mask: String },
    Fallback { fallback: String },
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum Word {
    Fail,
    Mask,
}

/// A client, and the policy that its calls have unless they say another.
#[derive(Clone)]
struct Opened {
    client: Client,
    standing: Option<Standing>,
}

fn open(Open { socket, options }: Open) -> Result<Opened, Error> {
    let mut builder = Client::builder().socket(socket);
    macro_rules! say {
        ($($said:ident => $option:ident $convert:expr;)+) => {
            $(if let Some(said) = options.$said { builder = builder.$option($convert(said)); })+
        };
    }
    let same = |count: u32| count;
    say! {
        deadline_ms => deadline Duration::from_millis;
        attempts => attempts same;
        pause_ms => pause Duration::from_millis;
        pause_most_ms => pause_most Duration::from_millis;
        retry_budget => retry_budget same;
        start_deadline_ms => start_deadline Duration::from_millis;
        restart_grace_ms => restart_grace Duration::from_millis;
        namespace => namespace String::from;
        purpose => purpose String::from;
        jwt => jwt String::from;
    }
    let client = builder.build()?;
    let apart = std::env::var_os("LUNASEC_ADAPTER_APART").is_some();
    let client = if apart { client } else { client.gathering() };
    Ok(Opened { client, standing: options.on_unavailable })
}

fn say(id: u64, mut answer: Json) {
    answer["id"] = id.into();
    let mut out = stdout().lock();
    // Whoever hears nothing any more has ended, and so does this.
    let _ = writeln!(out, "{answer}").and_then(|()| out.flush());
}

async fn call(opened: Opened, message: Message) -> Json {
    let name = message.call.unwrap_or_default();
    match calls::call(&opened, &name, message.arguments, message.options).await {
        None => json!({ "missing": name }),
        Some(Ok(calls::Called { wire, printed })) => json!({ "ok": wire, "printed": printed }),
        Some(Err(error)) => {
            json!({ "error": words::error(&error), "printed": words::error_printed(&error) })
        }
    }
}

// One thread: calls are made in the order in which they are told.
#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut opened = None;
    let calls = Arc::new(Mutex::new(HashMap::<u64, AbortHandle>::new()));
    let mut lines = BufReader::new(stdin()).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let Ok(mut message) = serde_json::from_str::<Message>(&line) else {
            // As the protocol has it for what is not known; of an option, too.
            let id = serde_json::from_str::<Json>(&line).ok().and_then(|line| line["id"].as_u64());
            say(id.unwrap_or_default(), json!({ "missing": "what this line says" }));
            continue;
        };
        let id = message.id;
        if let Some(wanted) = message.open.take() {
            match open(wanted) {
                Ok(made) => {
                    let printed = format!("{:?}", made.client);
                    opened = Some(made);
                    say(id, json!({ "ok": {}, "printed": printed }));
                }
                Err(error) => say(id, json!({ "error": words::error(&error) })),
            }
        } else if let Some(abort) = message.abort {
            // Dropping its future is how a call is given up.
            if let Some(handle) = calls.lock().unwrap().get(&abort) {
                handle.abort();
            }
            say(id, json!({ "ok": {} }));
        } else if let Some(opened) = opened.clone() {
            let task = tokio::spawn(call(opened, message));
            calls.lock().unwrap().insert(id, task.abort_handle());
            let calls = Arc::clone(&calls);
            tokio::spawn(async move {
                let aborted = json!({ "error": { "class": "Aborted" }, "printed": "aborted" });
                say(id, task.await.unwrap_or(aborted));
                calls.lock().unwrap().remove(&id);
            });
        } else {
            say(id, json!({ "missing": "open" }));
        }
    }
}
