//! Calls by hand: `{"call": "detokenize", "token": "…", "session": "…"}`, and what came of each.

use lunasec_client::{Client, Error, Session};
use serde_json::{Value as Json, json};
use tokio::io::{AsyncBufReadExt, BufReader, stdin};

use crate::{Outcome, say};

pub(crate) async fn answer() -> Outcome {
    let client = Client::from_env()?;
    let mut lines = BufReader::new(stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let asked: Json = serde_json::from_str(&line)?;
        let answered = call(&client, &asked).await.unwrap_or_else(
            |error| json!({"error": error.code(), "detail": error.detail(), "retryable": error.retryable()}),
        );
        say(&answered.to_string());
    }
    Ok(())
}

async fn call(client: &Client, asked: &Json) -> Result<Json, Error> {
    let text = |name: &str| asked[name].as_str().unwrap_or_default();
    let (token, value) = (text("token"), text("value"));
    let session = client.for_session(asked["session"].as_str().unwrap_or("alice"))?;
    match text("call") {
        "tokenize" => {
            let made = client.tokenize(value).await?;
            Ok(json!({"token": made.token.expose(), "durability": made.durability.as_str()}))
        }
        "detokenize" => {
            let read = client.detokenize(token).await?;
            let degraded = read.staleness.as_ref().map(|staleness| staleness.degraded.clone());
            Ok(json!({"value": read.reveal()?, "degraded": degraded}))
        }
        "metadata" => Ok(json!({"metadata": client.metadata(token).await?.metadata})),
        "set_metadata" => {
            let written = client.set_metadata(token, &asked["metadata"]).await?;
            Ok(json!({"durability": written.durability.as_str()}))
        }
        "delete" => one(
            client.delete(&[token]).await?,
            |deleted| json!({"durability": deleted.durability.as_str()}),
        ),
        call => granted(&session, token, call).await,
    }
}

async fn granted(session: &Session, token: &str, call: &str) -> Result<Json, Error> {
    match call {
        "grant" => one(
            session.grant(&[token]).await?,
            |granted| json!({"durability": granted.durability.as_str()}),
        ),
        "verify" => {
            one(session.verify(&[token]).await?, |verdict| json!({"valid": verdict.is_valid()}))
        }
        "revoke" => Ok(json!({"durability": session.revoke(&[token]).await?.durability.as_str()})),
        _ => Ok(json!({"error": "no such call"})),
    }
}

/// Of a list of one.
fn one<T>(items: Vec<Result<T, Error>>, said: impl Fn(T) -> Json) -> Result<Json, Error> {
    items.into_iter().next().map_or_else(|| Ok(Json::Null), |item| item.map(said))
}
