//! What happens to the sidecars: weather, kills, full disks, and long pauses.

use std::{sync::Arc, time::Duration};

use lunasec_core::limits;
use lunasec_sidecar::{store::Name, vault::Graces};
use lunasec_tests::world::call;

use crate::{
    luck::Luck,
    network::{Away, Weather},
    scene::Scene,
    site::Site,
};

/// How long a seed goes on, in episodes.
const EPISODES: u64 = 5;

/// Plays some episodes, one after the other.
pub(crate) async fn rage(scene: &Arc<Scene>, sites: &[Arc<Site>], mut luck: Luck) {
    for _ in 0..3 + luck.below(EPISODES) {
        episode(scene, sites, &mut luck).await;
    }
}

async fn episode(scene: &Arc<Scene>, sites: &[Arc<Site>], luck: &mut Luck) {
    let time = length(luck);
    // Some verbs of each client, however long it takes.
    *scene.pace.lock().unwrap() = 1 + u64::try_from(time.as_millis()).unwrap() / 8;
    let everywhere = luck.percent(60);
    let shared = weather(luck);
    for site in sites {
        let own = if everywhere { shared } else { weather(luck) };
        set(scene, site.number, own);
        site.idle(luck.percent(15));
    }
    let full = luck.percent(8).then(|| luck.place(sites.len()));
    if let Some(full) = full {
        sites[full].fill(true);
        scene.count("full disks");
        scene.note(format_args!("full {full}"));
    }
    let steps = 1 + luck.below(3);
    for _ in 0..steps {
        tokio::time::sleep(luck.millis(1, 1 + 2 * time.as_millis() as u64 / (steps + 1))).await;
        if luck.percent(20) {
            sites[luck.place(sites.len())].step();
        }
        if luck.percent(10) {
            sweep(scene, &sites[luck.place(sites.len())]).await;
        }
        if luck.percent(30) {
            restart(scene, &sites[luck.place(sites.len())], luck).await;
        }
    }
    if let Some(full) = full {
        sites[full].fill(false);
        scene.network().trouble[full] = scene.at();
    }
}

/// Mostly seconds, sometimes longer than anything may be believed.
fn length(luck: &mut Luck) -> Duration {
    match luck.below(100) {
        0..60 => luck.millis(2_000, 30_000),
        60..92 => luck.millis(30_000, 120_000),
        _ => luck.millis(300_000, 700_000),
    }
}

fn weather(luck: &mut Luck) -> Weather {
    let away = |luck: &mut Luck, refusals: &[(u16, &'static str)]| match luck.below(5) {
        0 | 1 => Away::Hangs,
        2 | 3 => Away::Resets,
        _ => {
            let (status, code) = luck.pick(refusals);
            Away::Refuses(status, code)
        }
    };
    let storage = [(500, "InternalError"), (503, "SlowDown"), (403, "AccessDenied"), (429, "")];
    let keys = [(500, "KMSInternalException"), (400, "ThrottlingException")];
    match luck.below(10) {
        0 | 1 => Weather::default(),
        2 | 3 => Weather { faults: 5, ..Weather::default() },
        4 => Weather { faults: 40, ..Weather::default() },
        5 => Weather { keys: Some(away(luck, &keys)), ..Weather::default() },
        6 => Weather {
            faults: 0,
            storage: Some(away(luck, &storage)),
            keys: Some(away(luck, &keys)),
        },
        _ => Weather { storage: Some(away(luck, &storage)), ..Weather::default() },
    }
}

pub(crate) fn set(scene: &Scene, site: usize, weather: Weather) {
    let mut network = scene.network();
    if network.weather[site] != weather {
        network.trouble[site] = scene.at();
        network.weather[site] = weather;
        drop(network);
        scene.note(format_args!("weather {site} {weather:?}"));
    }
}

/// An operator's sweep, as far as it gets.
pub(crate) async fn sweep(scene: &Scene, site: &Site) {
    let Some(sidecar) = site.running() else { return };
    let graces = Graces { expired: Duration::ZERO, tombstone: limits::TOMBSTONE_GRACE_LEAST };
    let mut next = None;
    loop {
        let after = next.as_deref().map(Name::from_text);
        let Ok(page) = sidecar.vault.sweep(&call(), graces, after.as_ref(), false).await else {
            return;
        };
        scene.note(format_args!("sweep {} {page:?}", site.number));
        (0..page.expired).for_each(|_| scene.count("expired values swept"));
        next = page.next;
        if next.is_none() {
            return;
        }
    }
}

/// Kills a sidecar, and begins it again after a while.
async fn restart(scene: &Scene, site: &Site, luck: &mut Luck) {
    scene.note(format_args!("kill {}", site.number));
    scene.count("restarts");
    site.kill();
    tokio::time::sleep(luck.millis(0, 3_000)).await;
    // Its disk has to take what the journal needs to open.
    site.fill(false);
    site.start().await;
    scene.note(format_args!("start {}", site.number));
}
