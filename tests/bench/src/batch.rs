//! A batch of 1,000 values of 32 bytes, beside a loop of the same cryptography in this process.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use lunasec_core::{
    envelope::{Fresh, Stamp, Subject, seal},
    ids::{KeyId, Namespace, PutId},
    record::Kind,
    secret::DataKey,
    token::Token,
};
use lunasec_sidecar::env::Entropy;
use lunasec_tests::sidecar::entropy;
use lunasec_tests::{Sidecar, raw};

use crate::{
    load::{self, Wait},
    median, process, row,
};

const ITEMS: u64 = 1_000;
const ROUND: Duration = Duration::from_millis(1_500);

pub(crate) fn measure(rounds: usize) -> String {
    let items = vec![serde_json::json!({ "value": "0123456789abcdef0123456789abcdef" }); 1_000];
    let body = serde_json::json!({ "items": items }).to_string();
    let request = raw::request("/v1/tokenize:batch", &[], body.as_bytes());
    let mut ratios = Vec::new();
    for _ in 0..rounds {
        // Anew each round: a store in memory only grows.
        let sidecar = Sidecar::serve_in_memory();
        process::pin(Some(sidecar.pid()), 0);
        process::pin(None, 0);
        let alone = loop_alone();
        process::pin(None, 1);
        let round = load::run(sidecar.socket(), &request, 2, ROUND, Wait::Spinning);
        ratios.push(round.rate() * ITEMS as f64 / alone);
    }
    process::pin_anywhere();
    let ratio = format!("{:.2}", median(ratios));
    row("batch of 1,000 × 32 B tokenize, values/s ÷ the same crypto", &ratio, "≥ 0.75", "≥ 0.85")
}

/// Values per second of nothing but what tokenize must compute: a token, its locator, its record.
fn loop_alone() -> f64 {
    let entropy = entropy();
    let draw = |out: &mut [u8]| entropy.fill(out).unwrap();
    let mut key = [0; 32];
    draw(&mut key);
    let (key, id) = (DataKey::take(&mut key), KeyId { epoch: 1, generation: 0 });
    let stamp = Stamp { tombstone: false, created_at: 1, expires_at: None };
    let namespace = Namespace::default();
    let began = Instant::now();
    let mut values = 0;
    while began.elapsed() < ROUND {
        for _ in 0..ITEMS {
            let (mut token, mut nonce, mut put_id) = ([0; 16], [0; 12], [0; 16]);
            draw(&mut token);
            draw(&mut nonce);
            draw(&mut put_id);
            let token = Token::from_random(token);
            let subject = Subject::new(token.clone(), namespace.clone(), Kind::Value, &[]);
            let fresh = Fresh { nonce, put_id: PutId(put_id) };
            let value = b"0123456789abcdef0123456789abcdef";
            let record = seal(&subject, id, &key, stamp, &fresh, &[&[0], value]).unwrap();
            black_box((record, token.expose_text()));
        }
        values += ITEMS;
    }
    values as f64 / began.elapsed().as_secs_f64()
}
