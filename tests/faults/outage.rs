//! Storage that does not answer, as where packets are dropped: what the release binary goes on doing, what it says
//! of that, what it costs, and how it comes back.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use lunasec_api::grpc as api;
use lunasec_core::limits;
use lunasec_tests::{
    Answer, Grpc, Sidecar,
    apart::{grant, revoke},
    aws::{Cloud, Engine, wait},
    fake::{Asked, Fake, Fault, serve},
    proxy::Proxy,
    sidecar::eventually,
};
use serde_json::{Value, json};

/// A sidecar whose way to S3 and KMS can be cut, and one whose way cannot.
struct Cut {
    proxy: Proxy,
    here: Sidecar,
    there: Sidecar,
    _directories: [tempfile::TempDir; 2],
}

impl Cut {
    /// Of both.
    fn new(engine: Engine) -> Self {
        Self::of(engine, |cloud, proxy| {
            cloud.place.endpoint = Some(proxy.clone());
            cloud.keys.endpoint = Some(proxy);
        })
    }

    /// Of KMS alone.
    fn of_keys(engine: Engine) -> Self {
        Self::of(engine, |cloud, proxy| cloud.keys.endpoint = Some(proxy))
    }

    fn of(engine: Engine, cut: impl FnOnce(&mut Cloud, String)) -> Self {
        let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let mut cloud = wait(Cloud::new(engine));
        let there = cloud.sidecar(directories[0].path(), "");
        let proxy = wait(Proxy::before(cloud.place.endpoint.as_deref().unwrap()));
        cut(&mut cloud, proxy.endpoint.clone());
        let here = cloud.sidecar(directories[1].path(), "");
        Self { proxy, here, there, _directories: directories }
    }

    fn drop_everything(&self, drops: bool) {
        self.proxy.drops.send(drops).unwrap();
    }

    /// Asks for what was never seen until that is refused at once.
    fn find_out(&self) {
        for _ in 0..limits::BREAKER_FAILURES {
            let refused = self.here.detokenize(&self.there.tokenize("unseen"));
            assert_eq!((refused.status, refused.code().as_str()), (503, "storage_unavailable"));
        }
    }
}

/// Which dependency, and how old.
fn said(answer: &Answer) -> (Option<&str>, Option<u64>) {
    let header = |name: &str| answer.headers.get(name).map(String::as_str);
    (header("lunasec-degraded"), header("age").map(|age| age.parse().unwrap()))
}

fn verify(sidecar: &Sidecar, tokens: &[&str]) -> Vec<Value> {
    let body = json!({ "session": "alice", "tokens": tokens });
    let answer = sidecar.post("/v1/grants/verify", &body).json();
    answer["items"].as_array().unwrap().clone()
}

#[test]
fn what_was_seen_goes_on_and_says_so_and_all_is_well_again_when_it_heals() {
    for engine in [Engine::Moto, Engine::LocalStack] {
        let cut = Cut::new(engine);
        let Cut { here, there, .. } = &cut;
        let (seen, unseen) = (there.tokenize("seen"), there.tokenize("unseen"));
        grant(there, "alice", &[&seen]);
        let healthy = here.detokenize(&seen);
        assert_eq!(
            (healthy.json()["value"].as_str(), said(&healthy)),
            (Some("seen"), (None, None))
        );
        let item = &verify(here, &[&seen])[0];
        assert!(item["valid"] == true && item.get("degraded").is_none(), "{item}");

        cut.drop_everything(true);
        cut.find_out();
        let degraded = here.detokenize(&seen);
        assert_eq!(degraded.json()["value"], "seen");
        assert!(matches!(said(&degraded), (Some("storage"), Some(_))), "{:?}", said(&degraded));
        // Alone it is said in the head, and of items in each.
        assert!(degraded.json().get("degraded").is_none());
        let batch = here.post("/v1/detokenize:batch", &json!({ "tokens": [seen, unseen] })).json();
        let items = &batch["items"];
        assert_eq!(
            (&items[0]["value"], &items[0]["degraded"]),
            (&json!("seen"), &json!("storage"))
        );
        assert!(items[0]["age"].is_u64(), "{items}");
        assert_eq!(items[1]["error"]["code"], "storage_unavailable");
        let verified = verify(here, &[&seen, &unseen]);
        assert_eq!(
            (&verified[0]["valid"], &verified[0]["degraded"]),
            (&json!(true), &json!("storage"))
        );
        assert_eq!(verified[1]["error"]["code"], "storage_unavailable");
        for (path, status) in [("/live", 200), ("/ready", 200)] {
            assert_eq!(lunasec_tests::raw::get_tcp(&here.admin(), path).status, status, "{path}");
        }

        // Taken back elsewhere meanwhile.
        revoke(there, "alice", None);
        assert_eq!(verify(here, &[&seen])[0]["valid"], true);
        cut.drop_everything(false);
        eventually("what was never seen is there", || here.detokenize(&unseen).status == 200);
        let fresh = here.detokenize(&unseen);
        assert_eq!((fresh.json()["value"].as_str(), said(&fresh)), (Some("unseen"), (None, None)));
        assert!(here.log().contains("answers again"), "{}", here.log());
        assert_eq!(here.tokenize("after").len(), seen.len());
    }
}

#[test]
fn what_an_outage_costs_is_set_by_its_probes_and_not_by_the_traffic() {
    let cut = Cut::new(Engine::Moto);
    let (here, seen) = (&cut.here, cut.there.tokenize("seen"));
    assert_eq!(here.detokenize(&seen).status, 200);
    cut.drop_everything(true);
    cut.find_out();
    let unseen = cut.there.tokenize("unseen");
    let requests = || here.dependency_requests(&["\"storage\""]);
    let lines = || here.log().matches("request failed").count() as u64;
    let (before, told, began) = (requests(), lines(), Instant::now());
    assert!(told > 0, "{}", here.log());
    let mut asked = 0;
    // Each probe counts.
    while asked < 2_000 || requests() - before < 3 {
        assert_eq!(here.detokenize(&seen).status, 200);
        assert_eq!(here.detokenize(&unseen).code(), "storage_unavailable");
        asked += 1;
        assert!(began.elapsed() < Duration::from_secs(60), "no probe is counted");
    }
    // A probe a second, whatever this machine was at in that time, and what was under way when it began.
    let seconds = began.elapsed().as_secs() + 1;
    let most = seconds + u64::from(limits::BREAKER_FAILURES * limits::ATTEMPTS);
    assert!(requests() - before <= most, "{} requests in {seconds} s", requests() - before);
    // Nor does the log grow with it.
    let told = lines() - told;
    let most = 1 + began.elapsed().as_secs() / limits::LOG_PAUSE.as_secs();
    assert!(told <= most, "{told} lines in {seconds} s");
}

/// Each gives up with the second attempts that wait in vain, and not after three of its own.
#[test]
fn requests_under_way_when_storage_stops_to_answer_do_not_try_on_once_that_is_known() {
    let cut = Cut::new(Engine::Moto);
    let unseen: Vec<String> = (0..12).map(|_| cut.there.tokenize("unseen")).collect();
    assert_eq!(cut.here.detokenize(&cut.there.tokenize("seen")).status, 200);
    let attempts = || cut.here.dependency_requests(&["\"storage\""]);
    let before = attempts();
    cut.drop_everything(true);
    std::thread::scope(|scope| {
        let reveal = |token: &String| {
            let (mut client, body) = (cut.here.connect(), json!({ "token": token }));
            scope.spawn(move || {
                client.post_with("/v1/detokenize", &[], body.to_string().as_bytes()).code()
            })
        };
        let revealed: Vec<_> = unseen.iter().map(reveal).collect();
        for code in revealed {
            assert_eq!(code.join().unwrap(), "storage_unavailable");
        }
    });
    // Some may have begun the third as the others end the second.
    let (made, callers) = (attempts() - before, unseen.len() as u64);
    assert!((callers..3 * callers).contains(&made), "{made} attempts for {callers} requests");
}

/// What is in memory goes on, and whatever is made with it says what is away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_keys_are_away_reads_and_writes_say_so() {
    let cut = tokio::task::spawn_blocking(|| Cut::of_keys(Engine::Moto)).await.unwrap();
    let mut grpc = Grpc::connect(cut.here.socket()).await;
    let here = &cut.here;
    let (seen, unseen) = (here.tokenize("seen"), cut.there.tokenize("unseen"));
    grant(here, "alice", &[&seen]);
    assert_eq!(said(&here.detokenize(&seen)), (None, None));
    let elsewhere = [("lunasec-namespace", "elsewhere")];
    let new = json!({ "value": "new" });
    let there = || {
        tokio::task::block_in_place(|| {
            let body = new.to_string();
            here.connect().post_with("/v1/tokenize", &elsewhere, body.as_bytes())
        })
    };
    cut.drop_everything(true);
    // A namespace without a key in memory finds out.
    assert_eq!(there().code(), "keys_unavailable");
    for token in [&seen, &unseen] {
        let revealed = here.detokenize(token);
        assert_eq!(revealed.status, 200, "{}", revealed.text());
        assert!(matches!(said(&revealed), (Some("keys"), Some(_))), "{:?}", said(&revealed));
    }
    let batch = here.post("/v1/detokenize:batch", &json!({ "tokens": [seen] })).json();
    assert_eq!(batch["items"][0]["degraded"], "keys");
    assert_eq!(verify(here, &[&seen])[0]["degraded"], "keys");
    let written = here.post("/v1/tokenize", &new);
    assert!(matches!(said(&written), (Some("keys"), Some(_))), "{}", written.text());
    let reveal = api::DetokenizeRequest { token: seen.clone() };
    let revealed: api::DetokenizeResponse = grpc.call("Detokenize", &reveal).await.message();
    assert_eq!(revealed.staleness.unwrap().dependency, "keys");
    let count = r#"lunasec_degraded_answers_total{reason="keys"} 6"#;
    assert!(here.metrics().contains(count), "{}", here.metrics());

    cut.drop_everything(false);
    eventually("keys are back", || there().status == 200);
    assert_eq!(said(&here.detokenize(&seen)), (None, None));
    assert_eq!(said(&here.post("/v1/tokenize", &new)), (None, None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_is_said_over_grpc() {
    let cut = tokio::task::spawn_blocking(|| Cut::new(Engine::Moto)).await.unwrap();
    let mut grpc = Grpc::connect(cut.here.socket()).await;
    let seen = cut.there.tokenize("seen");
    let reveal = api::DetokenizeRequest { token: seen.clone() };
    let healthy: api::DetokenizeResponse = grpc.call("Detokenize", &reveal).await.message();
    assert!(healthy.staleness.is_none());
    cut.drop_everything(true);
    tokio::task::block_in_place(|| cut.find_out());
    let degraded: api::DetokenizeResponse = grpc.call("Detokenize", &reveal).await.message();
    assert_eq!(&degraded.value[..], b"seen");
    let staleness = degraded.staleness.unwrap();
    assert!(staleness.dependency == "storage" && staleness.age.is_some());
}

/// Each of its steps is slow because nothing answers at first, and all of them together take too long.
#[test]
fn a_request_that_waits_for_storage_for_too_long_says_so() {
    let fake = Arc::new(Mutex::new(Fake::new("bucket", "key")));
    let cloud = Cloud::fake(&wait(serve(Arc::clone(&fake))), "bucket", "key");
    let directory = tempfile::tempdir().unwrap();
    let sidecar = cloud.sidecar(directory.path(), "");
    for asked in [Asked::List, Asked::Get, Asked::Put] {
        fake.lock().unwrap().fail(asked, 2, Fault::Hang);
    }
    let late = sidecar.post("/v1/tokenize", &json!({ "value": "late" }));
    assert_eq!((late.status, late.code().as_str()), (503, "storage_unavailable"));
    assert_eq!(sidecar.detokenize(&sidecar.tokenize("in time")).json()["value"], "in time");
}
