//! Calls without an end. Each token that was acknowledged is a line of its own, so that a test can ask for it later,
//! from elsewhere; the last line counts.

use std::{
    env,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use lunasec_client::{Client, Error};
use serde_json::json;
use tokio::task::JoinSet;

use crate::{Outcome, say, stopped};

/// How often a caller asks for what it made before it makes the next.
const READS: usize = 8;

#[derive(Default)]
struct Counted {
    stop: AtomicBool,
    calls: AtomicU64,
    failed: AtomicU64,
}

pub(crate) async fn until_stopped(callers: &str) -> Outcome {
    let counted = Arc::new(Counted::default());
    let mut tasks = begin(callers.parse()?, u64::MAX, &counted)?;
    stopped().await?;
    counted.stop.store(true, Relaxed);
    end(&mut tasks, &counted).await
}

pub(crate) async fn once(calls: &str) -> Outcome {
    let counted = Arc::new(Counted::default());
    let mut tasks = begin(1, calls.parse()?, &counted)?;
    end(&mut tasks, &counted).await?;
    if counted.failed.load(Relaxed) > 0 {
        Err("calls failed; each is a line above".into())
    } else {
        Ok(())
    }
}

fn begin(callers: usize, calls: u64, counted: &Arc<Counted>) -> Result<JoinSet<()>, Error> {
    let client = Client::from_env()?;
    // The pod's, where it has one: values of pods differ.
    let pod = env::var("HOSTNAME").unwrap_or_default();
    let mut tasks = JoinSet::new();
    for caller in 0..callers {
        let (client, counted, pod) = (client.clone(), Arc::clone(counted), pod.clone());
        tasks.spawn(async move {
            for number in 0..calls {
                if counted.stop.load(Relaxed) {
                    break;
                }
                round(&client, &counted, &format!("{pod} {caller} {number}")).await;
            }
        });
    }
    Ok(tasks)
}

async fn end(tasks: &mut JoinSet<()>, counted: &Counted) -> Outcome {
    while let Some(task) = tasks.join_next().await {
        task?;
    }
    let (calls, failed) = (counted.calls.load(Relaxed), counted.failed.load(Relaxed));
    say(&json!({"calls": calls, "failed": failed}).to_string());
    Ok(())
}

async fn round(client: &Client, counted: &Counted, value: &str) {
    let Some(made) = noted(counted, "tokenize", client.tokenize(value).await) else { return };
    let durability = made.durability.as_str();
    say(&json!({"token": made.token.expose(), "value": value, "durability": durability})
        .to_string());
    for _ in 0..READS {
        let read = client.detokenize(&made.token).await;
        let Some(read) = noted(counted, "detokenize", read) else { continue };
        if read.reveal_bytes() != value.as_bytes() {
            counted.failed.fetch_add(1, Relaxed);
            say(&json!({"wrong": value}).to_string());
        }
    }
}

fn noted<T>(counted: &Counted, call: &str, result: Result<T, Error>) -> Option<T> {
    counted.calls.fetch_add(1, Relaxed);
    result
        .inspect_err(|error| {
            counted.failed.fetch_add(1, Relaxed);
            say(&json!({"call": call, "error": error.code(), "detail": error.detail()}).to_string());
        })
        .ok()
}
