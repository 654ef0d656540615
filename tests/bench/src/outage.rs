//! An outage of storage, behind a proxy that lets nothing through: how fast what was seen still is, and how soon
//! answers are fresh when it is back.

use std::{
    thread,
    time::{Duration, Instant},
};

use lunasec_core::limits;
use lunasec_tests::{
    Raw, Sidecar,
    aws::{Cloud, Engine, wait},
    proxy::Proxy,
    raw,
};
use serde_json::json;

use crate::{
    load::{self, Round, Wait},
    median, process,
    rates::{LOAD_CORE, ROUND, SERVER_CORE},
    row,
};

const CONNECTIONS: usize = 16;

pub(crate) fn measure(rounds: usize) -> Vec<String> {
    let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let mut cloud = wait(Cloud::new(Engine::Moto));
    let there = cloud.sidecar(directories[0].path(), "");
    let proxy = wait(Proxy::before(cloud.place.endpoint.as_deref().unwrap()));
    cloud.place.endpoint = Some(proxy.endpoint.clone());
    cloud.keys.endpoint = Some(proxy.endpoint.clone());
    let here = cloud.sidecar(directories[1].path(), "");
    process::pin(Some(here.pid()), SERVER_CORE);
    let (mut middle, mut tail, mut healed) = (vec![], vec![], vec![]);
    for _ in 0..rounds {
        let request = reveal(&here.tokenize("4111 1111 1111 1111"));
        // Different ones: all who ask for the same share one reading.
        let unseen = [(); limits::BREAKER_FAILURES as usize];
        let unseen = unseen.map(|()| reveal(&there.tokenize("unseen")));
        let healthy = round(&here, &request);
        proxy.drops.send(true).unwrap();
        find_out(&here, &unseen);
        let away = round(&here, &request);
        middle.push(away.percentile(50.0) / healthy.percentile(50.0));
        tail.push(away.percentile(99.0) / healthy.percentile(99.0));
        proxy.drops.send(false).unwrap();
        let back = Instant::now();
        while status(&here, &unseen[0]) != 200 {
            thread::sleep(Duration::from_millis(5));
        }
        healed.push(back.elapsed().as_secs_f64() * 1e3);
    }
    let pair = format!("{:.2}, {:.2}", median(middle), median(tail));
    let most = healed.iter().copied().fold(0.0, f64::max);
    let healed = format!("{:.0} ms, at most {most:.0} ms", median(healed));
    vec![
        row(
            "cached detokenize with storage black-holed ÷ healthy, p50, p99, c=16",
            &pair,
            "≤ 1.2 (p99)",
            "≤ 1.05, ≤ 1.05",
        ),
        row("from healing to the first fresh answer", &healed, "≤ 2 s", ""),
    ]
}

fn round(sidecar: &Sidecar, request: &[u8]) -> Round {
    process::pin(None, LOAD_CORE);
    let round = load::run(sidecar.socket(), request, CONNECTIONS, ROUND, Wait::Spinning);
    process::pin_anywhere();
    round
}

/// Asks for what was never seen, until nobody waits for that any more.
fn find_out(sidecar: &Sidecar, unseen: &[Vec<u8>]) {
    let asking = unseen.iter().map(|unseen| {
        let (socket, unseen) = (sidecar.socket().to_owned(), unseen.clone());
        thread::spawn(move || {
            let mut raw = Raw::connect(&socket);
            raw.send(&unseen).unwrap();
            assert_eq!(raw.answer().unwrap().status, 503);
        })
    });
    asking.collect::<Vec<_>>().into_iter().for_each(|asking| asking.join().unwrap());
    let began = Instant::now();
    assert_eq!(status(sidecar, &unseen[0]), 503);
    assert!(began.elapsed() < Duration::from_secs(1), "it is still waited for");
}

fn status(sidecar: &Sidecar, request: &[u8]) -> u16 {
    let mut raw = sidecar.connect();
    raw.send(request).unwrap();
    raw.answer().unwrap().status
}

fn reveal(token: &str) -> Vec<u8> {
    raw::request("/v1/detokenize", &[], json!({ "token": token }).to_string().as_bytes())
}
