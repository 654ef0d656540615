//! One seed, from its beginning to what is left of it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use lunasec_core::record::{Header, Kind};
use lunasec_sidecar::store::Name;
use lunasec_tests::fake::Fake;
use tokio::runtime::Builder;

use crate::{
    chaos,
    client::{self, Answer},
    luck::Luck,
    model::{Asked, Model, Verb},
    network::{Network, Weather},
    planted::Plant,
    scene::{At, Scene},
    site::{BUCKET, KEY, Sidecar, Site},
};

/// What came of a seed.
pub(crate) struct Played {
    pub(crate) digest: u64,
    pub(crate) violations: Vec<String>,
    pub(crate) history: Vec<String>,
    pub(crate) counts: BTreeMap<String, u64>,
    /// How much time it told.
    pub(crate) time: Duration,
}

/// Plays a seed; the last `keep` events are told.
pub(crate) fn play(seed: u64, plant: Plant, keep: usize) -> Played {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(run(seed, plant, keep))
}

async fn run(seed: u64, plant: Plant, keep: usize) -> Played {
    let mut luck = Luck::of(seed, 0);
    let count = 2 + luck.place(2);
    let network = Network::new(Fake::new(BUCKET, KEY), Luck::of(seed, 1), count);
    let scene = Arc::new(Scene::new(seed, keep, network, Model::default()));
    let sites: Vec<_> =
        (0..count).map(|number| Arc::new(Site::new(&scene, number, plant))).collect();
    for site in &sites {
        site.start().await;
    }
    prepare(&scene, &sites).await;
    let mut clients = Vec::new();
    for (number, site) in sites.iter().cycle().take(2 * count).enumerate() {
        let luck = Luck::of(seed, 10 + number as u64);
        let living = client::live(Arc::clone(&scene), Arc::clone(site), luck);
        clients.push(tokio::spawn(living));
    }
    chaos::rage(&scene, &sites, luck).await;
    clients.iter().for_each(tokio::task::JoinHandle::abort);
    heal(&scene, &sites).await;
    let violations = std::mem::take(&mut scene.model().violations);
    let (digest, history, counts) = scene.told();
    Played { digest, violations, history, counts, time: scene.at() }
}

/// So that there are keys, and something to ask for.
async fn prepare(scene: &Scene, sites: &[Arc<Site>]) {
    for site in sites {
        let verb = Verb::Tokenize { batch: Some(2), key: None, metadata: true, expires: None };
        client::ask(scene, &site.running().unwrap(), verb, 0).await;
    }
}

/// Everything is well again, and after a while everybody must know everything that was acknowledged.
async fn heal(scene: &Scene, sites: &[Arc<Site>]) {
    scene.note(format_args!("heal"));
    for site in sites {
        site.fill(false);
        chaos::set(scene, site.number, Weather::default());
        if site.running().is_none() {
            site.start().await;
        }
    }
    // Verbs that were under way end, lost writes arrive, journals are drained.
    let deadline = scene.at() + Duration::from_secs(600);
    loop {
        for site in sites {
            poke(scene, &site.running().unwrap()).await;
        }
        let waits = |site: &Arc<Site>| site.running().unwrap().journal.pending().count;
        if sites.iter().all(|site| waits(site) == 0) {
            break;
        }
        if scene.at() > deadline {
            scene.model().violations.push("a journal is not drained".into());
            return;
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_secs(45)).await;
        for site in sites {
            poke(scene, &site.running().unwrap()).await;
        }
    }
    tokio::time::sleep(Duration::from_secs(61)).await;
    for site in sites {
        inspect(scene, &site.running().unwrap()).await;
    }
    let swept = scene.at();
    chaos::sweep(scene, &sites[0]).await;
    count_values(scene, swept);
}

/// Requests, after which a sidecar knows that storage and keys are back.
async fn poke(scene: &Scene, sidecar: &Sidecar) {
    for verb in [Verb::Reveal(0), Verb::Reveal(1), Verb::Verify(0, 0), Verb::Verify(1, 1)] {
        client::perform(scene, sidecar, &verb, "").await;
    }
}

async fn inspect(scene: &Scene, sidecar: &Sidecar) {
    let count = scene.model().tokens.len();
    for token in 0..count {
        let (asked, answer) = judge(scene, sidecar, &Verb::Reveal(token)).await;
        let Answer::Value(answer) = answer else { return };
        scene.model().healed(&asked, token, &answer);
        let (asked, answer) = judge(scene, sidecar, &Verb::Describe(token)).await;
        if let Answer::Metadata(Ok(text)) = answer {
            scene.model().healed_metadata(&asked, token, &text);
        }
        let sessions = scene.model().sessions(token);
        for session in sessions {
            let (asked, answer) = judge(scene, sidecar, &Verb::Verify(session, token)).await;
            let Answer::Verdict(answer) = answer else { return };
            scene.model().healed_grant(&asked, session, token, &answer);
        }
    }
}

async fn judge(scene: &Scene, sidecar: &Sidecar, verb: &Verb) -> (Asked, Answer) {
    let start = scene.at();
    let answer = client::perform(scene, sidecar, verb, "").await;
    let network = scene.network();
    let (up, answered) = (network.trouble[sidecar.site], network.answered[sidecar.site]);
    let now: At = scene.at();
    let Sidecar { site, born, keeps, .. } = *sidecar;
    (Asked { site, start, now, up, answered, born, keeps }, answer)
}

/// What lies in the bucket is what was acknowledged, and at most what may have happened without an answer.
fn count_values(scene: &Scene, swept: At) {
    let network = scene.network();
    let lives = |(name, bytes): (&String, &bytes::Bytes)| {
        let header = Header::parse(bytes).ok().filter(|_| name.starts_with(Name::RECORDS));
        header.is_some_and(|header| header.kind == Kind::Value && !header.tombstone)
    };
    let found = network.fake.s3.objects.iter().filter(|object| lives(*object)).count();
    drop(network);
    let mut model = scene.model();
    let (least, most) = model.live(swept);
    if !(least..=most).contains(&found) {
        let told = format!("{found} values lie in the bucket instead of {least} to {most}");
        model.violations.push(told);
    }
}
