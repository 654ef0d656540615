//! What the client adds to a bare hyper client, for a detokenize that the sidecar has in memory: the middle of the times of
//! calls one after another, calls per second of 64 callers with a token each, and allocations per call. Rounds are
//! interleaved, medians are taken.
//!
//!     LUNASEC_BIN=path/to/lunasec cargo run --release

mod allocations;
mod bare;

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use bare::Bare;
use futures_util::future::join_all;
use lunasec_client::Client;

#[global_allocator]
static ALLOCATIONS: allocations::Counting = allocations::Counting;

const CALLERS: usize = 64;

/// `ROUNDS` shortens it for a test that it runs at all.
fn sized(name: &str, usual: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

#[derive(Clone)]
enum Contender {
    Bare(Bare),
    Client(Client),
}

impl Contender {
    async fn detokenize(&self, token: &str) {
        match self {
            Self::Bare(bare) => drop(bare.detokenize(token).await),
            Self::Client(client) => {
                client.detokenize(token).await.unwrap().reveal().unwrap();
            }
        }
    }

    /// The middle of the times of calls one after another, in microseconds, and allocations per call.
    async fn one_by_one(&self, token: &str, calls: usize) -> (f64, f64) {
        let mut times = Vec::with_capacity(calls);
        let before = allocations::count();
        for _ in 0..calls {
            let began = Instant::now();
            self.detokenize(token).await;
            times.push(began.elapsed().as_secs_f64() * 1e6);
        }
        let allocated = (allocations::count() - before) as f64 / calls as f64;
        (median(times), allocated)
    }

    /// Calls per second of many callers, each of which makes one after another.
    async fn at_once(&self, tokens: &[String], calls: usize) -> f64 {
        let left = Arc::new(AtomicUsize::new(calls));
        let began = Instant::now();
        let callers = tokens.iter().cloned().map(|token| {
            let (contender, left) = (self.clone(), Arc::clone(&left));
            tokio::spawn(async move {
                let one_less = |left: usize| left.checked_sub(1);
                while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok() {
                    contender.detokenize(&token).await;
                }
            })
        });
        join_all(callers).await.into_iter().for_each(Result::unwrap);
        calls as f64 / began.elapsed().as_secs_f64()
    }
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

struct Found {
    name: &'static str,
    contender: Contender,
    p50: Vec<f64>,
    rate: Vec<f64>,
    allocated: f64,
}

async fn measure(socket: std::path::PathBuf) {
    let client = Client::builder().socket(&socket).build().unwrap();
    let values = (0..CALLERS).map(|caller| format!("4111 1111 1111 {}", 1_000 + caller));
    let tokens = client.tokenize_batch(values).await.unwrap();
    let tokens: Vec<String> =
        tokens.into_iter().map(|made| made.unwrap().token.expose().to_owned()).collect();
    let contenders = [
        ("bare hyper", Contender::Bare(Bare::new(socket))),
        ("client", Contender::Client(client.clone())),
        ("client, gathering", Contender::Client(client.gathering())),
    ];
    let mut found = contenders.map(|(name, contender)| Found {
        name,
        contender,
        p50: vec![],
        rate: vec![],
        allocated: 0.0,
    });
    let (rounds, calls) = (sized("ROUNDS", 9), sized("CALLS", 3_000));
    for round in 0..=rounds {
        for each in &mut found {
            let (p50, allocated) = each.contender.one_by_one(&tokens[0], calls).await;
            let rate = each.contender.at_once(&tokens, calls * 7).await;
            // The first round warms up.
            if round > 0 {
                each.p50.push(p50);
                each.rate.push(rate);
                each.allocated = allocated;
            }
        }
    }
    let base = (found[0].p50.clone(), found[0].rate.clone());
    for Found { name, p50, rate, allocated, .. } in found {
        let more = median(p50.iter().zip(&base.0).map(|(one, base)| one - base).collect());
        let ratio = median(rate.iter().zip(&base.1).map(|(one, base)| one / base).collect());
        println!(
            "{name:<20} p50 {:.1} µs ({more:+.1})   c={CALLERS} {:.0}/s (× {ratio:.2})   {allocated:.1} allocations",
            median(p50),
            median(rate),
        );
    }
}

fn start(directory: &std::path::Path, socket: &std::path::Path) -> Child {
    let binary = std::env::var_os("LUNASEC_BIN").expect("LUNASEC_BIN names the release binary");
    let mut command = Command::new(binary);
    command
        .arg("dev")
        .arg("--dir")
        .arg(directory)
        .arg("--socket")
        .arg(socket)
        .args(["--admin", "127.0.0.1:0"]);
    let mut sidecar = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    // Whoever ends before it serves says nothing any more, and the first call says why.
    let mut lines = BufReader::new(sidecar.stdout.take().unwrap()).lines();
    std::thread::spawn(move || while let Some(Ok(_)) = lines.next() {});
    sidecar
}

#[tokio::main]
async fn main() {
    let directory = std::env::temp_dir().join(format!("lunasec-bench-{}", std::process::id()));
    std::fs::create_dir(&directory).unwrap();
    let socket = directory.join("s.sock");
    let mut sidecar = start(&directory, &socket);
    let measured = tokio::spawn(measure(socket)).await;
    sidecar.kill().unwrap();
    sidecar.wait().unwrap();
    std::fs::remove_dir_all(&directory).unwrap();
    measured.unwrap();
}
