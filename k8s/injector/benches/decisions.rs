//! Decisions per second and their times, over TLS with 8 connections that stay: `cargo bench -p lunasec-injector`.
//!
//! Clients, injector and API server share this process and its cores, so an injector alone is faster than this says.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::{sync::mpsc, time::Duration};

use common::{
    Injector, Turned,
    api::Api,
    bundles,
    caller::{Caller, review},
    installed, is_settled, settings,
};
use lunasec_injector::clock::instant;

const CONNECTIONS: usize = 8;
const WARM: Duration = Duration::from_secs(1);
const MEASURED: Duration = Duration::from_secs(10);

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn main() {
    let (says, ready) = mpsc::channel();
    // As in the binary: one thread answers.
    std::thread::spawn(move || {
        runtime().block_on(async {
            let (api, clock) = (Api::start().await, Turned::new());
            installed(&api);
            let injector = Injector::start(&api, "a", settings(|it| it), clock.clone()).await;
            api.until("certificates", is_settled).await;
            let bundle = bundles(&api.store()).remove(0);
            says.send((injector.addresses.webhook, bundle, clock)).unwrap();
            std::future::pending::<()>().await;
        });
    });
    let (address, bundle, clock) = ready.recv().unwrap();
    let mut times = runtime().block_on(async {
        let clients: Vec<_> = (0..CONNECTIONS)
            .map(|_| {
                let (bundle, clock) = (bundle.clone(), clock.clone());
                tokio::spawn(async move {
                    let mut caller = Caller::new(address, &bundle, &clock).await.unwrap();
                    let (review, begun) = (review("deployment"), instant());
                    let mut times = Vec::new();
                    while begun.elapsed() < WARM + MEASURED {
                        let asked = instant();
                        let (status, _) =
                            caller.send("POST", "/mutate", review.clone()).await.unwrap();
                        assert_eq!(status, 200);
                        if begun.elapsed() > WARM {
                            times.push(asked.elapsed());
                        }
                    }
                    times
                })
            })
            .collect();
        let mut times = Vec::new();
        for client in clients {
            times.extend(client.await.unwrap());
        }
        times
    });
    times.sort();
    let at = |share: f64| times[(times.len() as f64 * share) as usize];
    println!(
        "{:.0} decisions/s, p50 {:?}, p99 {:?}, p99.9 {:?}, {CONNECTIONS} connections",
        times.len() as f64 / MEASURED.as_secs_f64(),
        at(0.5),
        at(0.99),
        at(0.999)
    );
}
