//! A journal in the release binary: what is taken while storage is away, what the process says of it, and what is
//! there after it was killed, stopped, or started again.

use std::path::Path;

use lunasec_api::grpc as api;
use lunasec_core::limits;
use lunasec_tests::{
    Answer, Grpc, Sidecar,
    apart::grant,
    aws::{Cloud, Engine, wait},
    proxy::Proxy,
    sidecar::{eventually, lunasec},
};
use rustix::process::Signal;
use serde_json::json;

const JOURNAL: (&str, &str) = ("LUNASEC_DEGRADE__ON_STORAGE_OUTAGE", "journal");

/// A sidecar with a journal, whose way to S3 and KMS can be cut, and one whose way cannot.
struct Bridge {
    cloud: Cloud,
    proxy: Proxy,
    here: Option<Sidecar>,
    there: Sidecar,
    directory: tempfile::TempDir,
    _elsewhere: tempfile::TempDir,
}

impl Bridge {
    fn new(engine: Engine) -> Self {
        let (directory, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut cloud = wait(Cloud::new(engine));
        let there = cloud.sidecar(elsewhere.path(), "");
        let proxy = wait(Proxy::before(cloud.place.endpoint.as_deref().unwrap()));
        cloud.place.endpoint = Some(proxy.endpoint.clone());
        let here = Some(cloud.sidecar_with(directory.path(), "", &[JOURNAL]));
        let bridge = Self { cloud, proxy, here, there, directory, _elsewhere: elsewhere };
        // So that it has the keys.
        bridge.here().tokenize("warms");
        grant(bridge.here(), "warms", &[&bridge.there.tokenize("warms")]);
        bridge
    }

    fn here(&self) -> &Sidecar {
        self.here.as_ref().unwrap()
    }

    fn away(&self, away: bool) {
        self.proxy.drops.send(away).unwrap();
    }

    /// Storage does not answer, and that is known.
    fn outage(&self) {
        self.away(true);
        for _ in 0..limits::BREAKER_FAILURES {
            let refused = self.here().detokenize(&self.there.tokenize("unseen"));
            assert_eq!(refused.code(), "storage_unavailable");
        }
    }

    fn start(&mut self, variables: &[(&str, &str)]) {
        self.here = Some(self.cloud.sidecar_with(self.directory.path(), "", variables));
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }
}

fn pending(sidecar: &Sidecar) -> u64 {
    let status = lunasec_tests::raw::get_tcp(&sidecar.admin(), "/status").json();
    status["journal"]["pending"].as_u64().unwrap()
}

fn tokenize(sidecar: &Sidecar, value: &str) -> (String, String) {
    let answer = sidecar.post("/v1/tokenize", &json!({ "value": value })).json();
    let text = |name: &str| answer[name].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
    (text("token"), text("durability"))
}

fn journaled(sidecar: &Sidecar, value: &str) -> String {
    let (token, durability) = tokenize(sidecar, value);
    assert_eq!(durability, "journaled");
    token
}

fn opens(sidecar: &Sidecar, token: &str, value: &str) {
    let answer = sidecar.detokenize(token);
    assert_eq!(answer.json()["value"], value);
}

fn degraded(answer: &Answer) -> Option<&str> {
    answer.headers.get("lunasec-degraded").map(String::as_str)
}

#[test]
fn what_is_journaled_is_there_when_storage_is_back() {
    for engine in [Engine::Moto, Engine::LocalStack] {
        let bridge = Bridge::new(engine);
        let (here, there) = (bridge.here(), &bridge.there);
        let (granted, deleted) = (there.tokenize("granted"), there.tokenize("deleted"));
        opens(here, &granted, "granted");
        bridge.outage();
        let answer = here.post("/v1/tokenize", &json!({ "value": "value" }));
        assert_eq!(
            (answer.json()["durability"].as_str(), degraded(&answer)),
            (Some("journaled"), Some("storage"))
        );
        let token = answer.json()["token"].as_str().unwrap().to_owned();
        let answer = here.detokenize(&token);
        assert_eq!(
            (answer.json()["value"].as_str(), degraded(&answer)),
            (Some("value"), Some("storage"))
        );
        let items = here
            .post("/v1/tokenize:batch", &json!({ "items": [{ "value": "a" }, { "value": "b" }] }));
        assert!(
            items.json()["items"]
                .as_array()
                .unwrap()
                .iter()
                .all(|item| item["durability"] == "journaled")
        );
        let set =
            here.post("/v1/metadata/set", &json!({ "token": granted, "metadata": { "k": 1 } }));
        assert_eq!(set.json()["durability"], "journaled");
        let made =
            here.post("/v1/grants/create", &json!({ "session": "alice", "tokens": [granted] }));
        assert_eq!(made.json()["items"][0]["durability"], "journaled");
        let gone = here.post("/v1/delete", &json!({ "tokens": [deleted] })).json();
        assert_eq!(
            gone["items"][0],
            json!({ "token": deleted, "deleted": true, "durability": "journaled" })
        );
        assert_eq!(here.detokenize(&deleted).code(), "not_found");
        assert_eq!(there.detokenize(&token).code(), "not_found");
        assert!(pending(here) >= 8, "{}", pending(here));
        bridge.away(false);
        eventually("the journal is drained", || pending(here) == 0);
        opens(there, &token, "value");
        opens(here, &token, "value");
        // The other one may serve what it has seen for a minute.
        let directory = tempfile::tempdir().unwrap();
        let third = bridge.cloud.sidecar(directory.path(), "");
        assert_eq!(third.detokenize(&deleted).code(), "not_found");
        let metadata = there.post("/v1/metadata/get", &json!({ "token": granted })).json();
        assert_eq!(metadata["metadata"], json!({ "k": 1 }));
        let verified =
            there.post("/v1/grants/verify", &json!({ "session": "alice", "tokens": [granted] }));
        assert_eq!(verified.json()["items"][0]["valid"], true);
        let after = here.post("/v1/tokenize", &json!({ "value": "after" }));
        assert_eq!((after.json()["durability"].as_str(), degraded(&after)), (Some("stored"), None));
    }
}

#[test]
fn what_was_acknowledged_outlives_a_kill_and_is_replayed_by_the_next_start_whatever_it_is_told() {
    let mut bridge = Bridge::new(Engine::Moto);
    bridge.outage();
    let values: Vec<String> = (0..50).map(|number| format!("value {number}")).collect();
    let tokens: Vec<String> = values.iter().map(|value| journaled(bridge.here(), value)).collect();
    bridge.here.as_mut().unwrap().kill();
    // Storage and keys are away still.
    bridge.start(&[JOURNAL]);
    assert_eq!(pending(bridge.here()), 50);
    assert_eq!(bridge.here().metric("lunasec_journal_pending") as u64, 50);
    let refused = bridge.here().detokenize(&tokens[0]);
    assert_eq!((refused.status, refused.code().as_str()), (503, "keys_unavailable"));
    // What waits is nobody's to throw away.
    bridge.here.as_mut().unwrap().kill();
    bridge.away(false);
    bridge.start(&[]);
    eventually("the journal is drained", || pending(bridge.here()) == 0);
    for (token, value) in tokens.iter().zip(&values) {
        opens(&bridge.there, token, value);
    }
    assert!(bridge.path().join("state/journal.redb").exists());
}

#[test]
fn a_stop_drains_what_it_can_and_says_what_it_leaves() {
    let mut bridge = Bridge::new(Engine::Moto);
    bridge.outage();
    let token = journaled(bridge.here(), "value");
    let left = |bridge: &Bridge| {
        let log = bridge.here().log();
        let last = log.lines().last().unwrap().to_owned();
        let is_left =
            last.contains("journal_pending=1") && last.contains("waits for the next start");
        assert!(is_left, "{log}");
    };
    // Whoever cannot wait for storage asks twice.
    bridge.here().signal(Signal::TERM);
    let stopping = |line: &str| line.contains("stopping");
    bridge.here.as_mut().unwrap().wait_for_line(stopping).unwrap();
    bridge.here().signal(Signal::INT);
    bridge.here.as_mut().unwrap().wait();
    left(&bridge);
    bridge.start(&[JOURNAL, ("LUNASEC_LIMITS__DRAIN_TIME", "1s")]);
    bridge.here.as_mut().unwrap().stop();
    left(&bridge);
    bridge.away(false);
    bridge.start(&[JOURNAL]);
    // It may be drained before or by the stop.
    bridge.here.as_mut().unwrap().stop();
    let log = bridge.here().log();
    assert!(log.lines().last().unwrap().contains("journal_pending=0"), "{log}");
    opens(&bridge.there, &token, "value");
}

/// As when a node is drained while storage is about to come back: the pod's disk may go with it.
#[test]
fn a_stop_waits_for_storage_that_comes_back() {
    let mut bridge = Bridge::new(Engine::Moto);
    bridge.proxy.gone.send(true).unwrap();
    eventually("writes are journaled", || tokenize(bridge.here(), "warms").1 == "journaled");
    let token = journaled(bridge.here(), "value");
    bridge.here().signal(Signal::TERM);
    let stopping = |line: &str| line.contains("stopping");
    bridge.here.as_mut().unwrap().wait_for_line(stopping).unwrap();
    let failed = || bridge.here().dependency_requests(&["\"storage\""]);
    let before = failed();
    eventually("it was tried again in vain, and once more", || failed() > before + 1);
    bridge.proxy.gone.send(false).unwrap();
    assert!(bridge.here.as_mut().unwrap().wait().success());
    let log = bridge.here().log();
    assert!(log.lines().last().unwrap().contains("journal_pending=0"), "{log}");
    opens(&bridge.there, &token, "value");
}

/// `lunasec journal` with a configuration: its exit code, and its words.
fn command(bridge: &Bridge, arguments: &[&str]) -> (Option<i32>, String) {
    let config = bridge.path().join("lunasec.toml");
    let mut command = lunasec();
    command.arg("journal").args(arguments).arg("--config").arg(config);
    let output = command.output().unwrap();
    let words = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.code(), words)
}

/// What is taken out stays sealed beside the journal, is not replayed, and is when it is put back.
#[test]
fn what_waits_is_listed_and_set_aside_while_the_sidecar_is_stopped() {
    let mut bridge = Bridge::new(Engine::Moto);
    assert_eq!(command(&bridge, &["list"]).0, Some(3));
    bridge.outage();
    let (kept, aside) = (journaled(bridge.here(), "kept"), journaled(bridge.here(), "aside"));
    let set = json!({ "token": aside, "metadata": { "k": 1 } });
    for _ in 0..2 {
        let answer = bridge.here().post("/v1/metadata/set", &set);
        assert_eq!(answer.json()["durability"], "journaled", "{}", answer.text());
    }
    for arguments in [&["list"][..], &["set-aside", "2"]] {
        let (code, words) = command(&bridge, arguments);
        assert_eq!(code, Some(3), "{words}");
        assert!(words.contains("in use by a running sidecar; stop that one first"), "{words}");
    }
    bridge.here.as_mut().unwrap().kill();

    let (code, words) = command(&bridge, &["list"]);
    assert_eq!(code, Some(0), "{words}");
    assert!(words.ends_with("4 entries wait\n"), "{words}");
    assert_eq!((words.matches("value").count(), words.matches("metadata").count()), (2, 2));
    assert!(![&kept, &aside].iter().any(|token| words.contains(&token[8..])), "{words}");
    let refusals = [(&["set-aside", "9"][..], "no entry 9"), (&["set-aside", "3"], "followed by")];
    for (arguments, why) in refusals {
        let (code, words) = command(&bridge, arguments);
        assert!(code == Some(2) && words.contains(why), "{words}");
    }
    let (code, words) = command(&bridge, &["set-aside", "2", "3", "4", "--dry-run"]);
    assert!(code == Some(0) && words.contains("nothing was changed"), "{words}");
    assert!(command(&bridge, &["list"]).1.contains("4 entries wait"));
    let (code, words) = command(&bridge, &["set-aside", "2", "3", "4"]);
    assert_eq!(code, Some(0), "{words}");
    for said in ["2, a value: its token", "3, a metadata: metadata", "set 3 aside"] {
        assert!(words.contains(said), "{said}: {words}");
    }
    assert!(command(&bridge, &["list"]).1.contains("1 entries wait"));

    bridge.away(false);
    bridge.start(&[JOURNAL]);
    eventually("the journal is drained", || pending(bridge.here()) == 0);
    opens(&bridge.there, &kept, "kept");
    assert_eq!(bridge.there.detokenize(&aside).code(), "not_found");
    bridge.here.as_mut().unwrap().stop();
    let state = bridge.path().join("state");
    std::fs::rename(state.join("journal-aside.redb"), state.join("journal.redb")).unwrap();
    bridge.start(&[JOURNAL]);
    eventually("the journal is drained", || pending(bridge.here()) == 0);
    eventually("it opens", || bridge.there.detokenize(&aside).status == 200);
    let metadata = bridge.there.post("/v1/metadata/get", &json!({ "token": aside })).json();
    assert_eq!(metadata["metadata"], json!({ "k": 1 }));
}

#[test]
fn a_second_sidecar_on_the_same_directory_is_refused() {
    let bridge = Bridge::new(Engine::Moto);
    let variables = [JOURNAL, ("LUNASEC_LISTEN__SOCKET", "/nowhere/second.sock")];
    let (status, log) =
        bridge.cloud.try_sidecar(bridge.path(), "", &variables).err().expect("it must not start");
    assert!(!status.success());
    assert!(log.contains("another process has") && log.contains("use another directory"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_is_said_over_grpc() {
    let bridge = tokio::task::spawn_blocking(|| Bridge::new(Engine::Moto)).await.unwrap();
    tokio::task::block_in_place(|| bridge.outage());
    let mut grpc = Grpc::connect(bridge.here().socket()).await;
    let request = api::TokenizeRequest { value: b"value".as_slice().into(), ..Default::default() };
    let given: api::TokenizeResponse = grpc.call("Tokenize", &request).await.message();
    assert!(given.durability() == api::Durability::Journaled);
}
