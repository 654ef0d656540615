//! A journal while storage is away, on a disk that syncs: how many writes it takes, what an outage costs, and how
//! long it takes to bring what waits to storage. S3 and KMS are the fake of the tests, in this process, over
//! loopback and behind a relay.

use std::{
    fs::File,
    io::Write,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use lunasec_tests::{
    Sidecar,
    aws::{Cloud, wait},
    fake::{Asked, Fake, Fault, serve},
    proxy::Proxy,
    raw,
};
use serde_json::json;

use crate::{
    load::{self, Wait},
    median, process,
    rates::ROUND,
    row,
};

const CLIENTS: usize = 64;
const OUTAGE: Duration = Duration::from_secs(60);
const ENTRIES: usize = 100_000;
const BATCH: usize = 1_000;
const STORAGE: [Asked; 4] = [Asked::Get, Asked::Put, Asked::Delete, Asked::List];
const KEYS: [Asked; 3] = [Asked::Make, Asked::Unwrap, Asked::Rewrap];

pub(crate) fn measure(rounds: usize) -> Vec<String> {
    let site = Site::new();
    let request = tokenize(&json!({ "value": "4111 1111 1111 1111" }));
    site.proxy.gone.send(true).unwrap();
    site.wait_until_journaled();
    let (mut rates, mut tails) = (vec![], vec![]);
    for _ in 0..rounds {
        let round = load::run(site.sidecar.socket(), &request, CLIENTS, ROUND, Wait::Asleep);
        rates.push(round.rate());
        tails.push(round.percentile(99.0) / 1e3);
    }
    let taken = format!("{:.0}/s, p99 {:.1} ms", median(rates), median(tails));
    let mut rows = vec![
        row("one write of 4 KiB and its sync, on the same disk", &site.sync(), "", ""),
        row("tokenize into the journal, storage away, c=64", &taken, "", ""),
    ];
    drop(site);
    rows.push(outage(&request));
    rows.extend(drain());
    rows
}

/// A sidecar with a journal.
struct Site {
    fake: Arc<Mutex<Fake>>,
    proxy: Proxy,
    sidecar: Sidecar,
    state: tempfile::TempDir,
    _directory: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        // Beside this program: a temporary directory may be in memory.
        let program = std::env::current_exe().unwrap();
        let state = tempfile::tempdir_in(program.parent().unwrap()).unwrap();
        let fake = Arc::new(Mutex::new(Fake::new("bucket", "key")));
        let mut cloud = Cloud::fake(&wait(serve(Arc::clone(&fake))), "bucket", "key");
        let proxy = wait(Proxy::before(cloud.place.endpoint.as_deref().unwrap()));
        cloud.place.endpoint = Some(proxy.endpoint.clone());
        cloud.keys.endpoint = Some(proxy.endpoint.clone());
        let directory = tempfile::tempdir().unwrap();
        let variables = [
            ("LUNASEC_DEGRADE__ON_STORAGE_OUTAGE", "journal"),
            ("LUNASEC_DEGRADE__STATE_DIR", state.path().to_str().unwrap()),
            ("LUNASEC_DEGRADE__JOURNAL_BYTES", "2GiB"),
        ];
        let sidecar = cloud.sidecar_with(directory.path(), "", &variables);
        sidecar.tokenize("warms");
        Self { fake, proxy, sidecar, state, _directory: directory }
    }

    fn wait_until_journaled(&self) {
        // The first ones wait for storage.
        for _ in 0..20 {
            self.sidecar.tokenize("waits");
        }
        assert!(self.pending() > 0);
    }

    fn pending(&self) -> u64 {
        let status = raw::get_tcp(&self.sidecar.admin(), "/status").json();
        status["journal"]["pending"].as_u64().unwrap()
    }

    /// What the disk itself takes.
    fn sync(&self) -> String {
        let mut file = File::create(self.state.path().join("probe")).unwrap();
        let mut times = Vec::new();
        for _ in 0..200 {
            let began = Instant::now();
            file.write_all(&[7; 4_096]).unwrap();
            file.sync_data().unwrap();
            times.push(began.elapsed().as_secs_f64() * 1e3);
        }
        format!("{:.2} ms", median(times))
    }
}

fn tokenize(body: &serde_json::Value) -> Vec<u8> {
    raw::request("/v1/tokenize", &[], body.to_string().as_bytes())
}

/// A minute in which neither S3 nor KMS answers anything, with traffic that would ask for both. What they were
/// asked is what the fake has seen: the sidecar's own metrics do not count requests that it has given up.
fn outage(request: &[u8]) -> String {
    let site = Site::new();
    let mut fake = site.fake.lock().unwrap();
    for asked in STORAGE.into_iter().chain(KEYS) {
        fake.fail(asked, usize::MAX, Fault::Hang);
    }
    drop(fake);
    let count = |of: &[Asked]| {
        let fake = site.fake.lock().unwrap();
        of.iter().map(|asked| fake.count(*asked)).sum::<usize>()
    };
    let before = (count(&STORAGE), count(&KEYS));
    site.wait_until_journaled();
    let round = load::run(site.sidecar.socket(), request, CLIENTS, OUTAGE, Wait::Asleep);
    let (storage, keys) = (count(&STORAGE) - before.0, count(&KEYS) - before.1);
    let measured = format!("{storage}, {keys}, with {} tokenizes meanwhile", round.requests);
    row("requests to storage and to keys in a 60 s outage", &measured, "probes alone", "")
}

fn drain() -> Vec<String> {
    let site = Site::new();
    site.proxy.gone.send(true).unwrap();
    site.wait_until_journaled();
    let items: Vec<_> = (0..BATCH).map(|at| json!({ "value": format!("value {at}") })).collect();
    let batch = json!({ "items": items });
    let began = Instant::now();
    while site.pending() < ENTRIES as u64 {
        let answer = site.sidecar.post("/v1/tokenize:batch", &batch);
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let (filled, pending) = (began.elapsed(), site.pending());
    let cpu = process::cpu_time(site.sidecar.pid());
    site.proxy.gone.send(false).unwrap();
    let began = Instant::now();
    while site.pending() > 0 {
        thread::sleep(Duration::from_millis(20));
    }
    let drained = began.elapsed().as_secs_f64();
    let cpu = (process::cpu_time(site.sidecar.pid()) - cpu).as_secs_f64();
    let rate = pending as f64 / drained;
    let filled = format!("{:.0} values/s", pending as f64 / filled.as_secs_f64());
    let drained = format!("{drained:.1} s, {rate:.0}/s, of which {cpu:.1} s are the sidecar's CPU");
    vec![
        row("batches of 1,000 into the journal, storage away", &filled, "", ""),
        row("draining 100,000 entries to a fake S3 on the same two cores", &drained, "", ""),
    ]
}
