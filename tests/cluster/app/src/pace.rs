//! Calls at a rate, as an application makes them that is busy: so many `detokenize` a second, of a hundred tokens in turn.

use std::{num::NonZeroU32, time::Duration};

use lunasec_client::{Client, Token};
use serde_json::json;
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval},
};

use crate::{Outcome, say};

const TOKENS: usize = 100;

pub(crate) async fn at(rate: &str, seconds: &str) -> Outcome {
    let (rate, seconds): (NonZeroU32, u32) = (rate.parse()?, seconds.parse()?);
    let client = Client::from_env()?;
    let mut tokens = Vec::new();
    for number in 0..TOKENS {
        tokens.push(client.tokenize(&format!("4111 1111 1111 {number:04}")).await?.token);
    }
    say(&json!({"tokens": tokens.len()}).to_string());
    let mut ticks = interval(Duration::from_secs(1) / rate.get());
    // Who was kept from its turn makes it up: the rate holds.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (began, mut calls) = (Instant::now(), JoinSet::new());
    for token in tokens.iter().cycle().take(rate.get() as usize * seconds as usize) {
        ticks.tick().await;
        calls.spawn(timed(client.clone(), token.clone()));
    }
    let took = calls.join_all().await;
    let took_in_all = began.elapsed().as_secs_f64();
    let mut well: Vec<Duration> = took.iter().flatten().copied().collect();
    well.sort();
    let at = |part: f64| well.get((part * well.len() as f64) as usize).map(Duration::as_micros);
    let said = json!({
        "calls": took.len(), "failed": took.len() - well.len(), "seconds": took_in_all,
        "median_us": at(0.5), "p99_us": at(0.99),
    });
    say(&said.to_string());
    Ok(())
}

async fn timed(client: Client, token: Token) -> Option<Duration> {
    let began = Instant::now();
    client.detokenize(&token).await.ok().map(|_| began.elapsed())
}
