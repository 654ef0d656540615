//! The journal's own disk: full, read-only, torn; and one on which too much has waited for too long.

use std::{fs, path::Path};

use lunasec_tests::{
    Answer, Sidecar,
    aws::{Cloud, Engine, wait},
    namespace::{in_mount_namespace, mount_tmpfs, remount},
    sidecar::eventually,
};
use serde_json::json;

use super::Site;
use crate::embedded::disk::{fill, limit_writes};

const PAGE: usize = 4_096;

/// What was acknowledged.
#[derive(Default)]
struct Values(Vec<(String, String)>);

impl Values {
    /// The answer, if it is a refusal.
    fn tokenize(&mut self, sidecar: &Sidecar, length: usize) -> Option<Answer> {
        let value = format!("{} {}", self.0.len(), "v".repeat(length));
        let answer = sidecar.post("/v1/tokenize", &json!({ "value": value }));
        if answer.status != 200 {
            assert_eq!((answer.status, &answer.json()["retryable"]), (503, &json!(true)));
            return Some(answer);
        }
        self.0.push((answer.json()["token"].as_str().unwrap().into(), value));
        None
    }

    fn check(&self, sidecar: &Sidecar) {
        for (token, value) in &self.0 {
            let answer = sidecar.detokenize(token);
            assert_eq!(answer.json()["value"], **value, "{:.30}: {:.300}", value, answer.text());
        }
    }

    /// What opens, of what may have been lost.
    fn count(&self, sidecar: &Sidecar) -> usize {
        let opens = |(token, value): &&(String, String)| {
            let answer = sidecar.detokenize(token);
            assert!(
                answer.json()["value"] == **value || answer.code() == "not_found",
                "{}",
                answer.text()
            );
            answer.status == 200
        };
        self.0.iter().filter(opens).count()
    }
}

/// A sidecar whose state directory is a disk of its own.
fn small(size: &str) -> Site {
    let temporary = tempfile::tempdir().unwrap();
    mount_tmpfs(&temporary.path().join("state"), size);
    Site::in_directory(wait(Cloud::new(Engine::Moto)), temporary)
}

/// The same, whose storage has gone away.
fn away(mut site: Site) -> (Site, Values) {
    site.start();
    let mut values = Values::default();
    assert!(values.tokenize(site.here(), 10).is_none());
    site.proxy.gone.send(true).unwrap();
    while site.is_drained() {
        assert!(values.tokenize(site.here(), 10).is_none());
    }
    (site, values)
}

/// The directory can be removed only once nothing is mounted in it.
fn unmount(site: &Site) {
    let state = site.directory.join("state");
    let unmounted = std::process::Command::new("umount").arg("--lazy").arg(state).status();
    assert!(unmounted.unwrap().success());
}

fn is_kept(site: &mut Site) {
    site.more = vec![("LUNASEC_LISTEN__SOCKET", "/nowhere/second.sock")];
    let (status, log) = site.try_start().err().expect("a second one must not start");
    assert!(status.code() == Some(3) && log.contains("another process has"), "{log}");
    site.more = vec![];
    let mut list = site.cloud.lunasec();
    list.args(["journal", "list", "--config"]).arg(site.directory.join("lunasec.toml"));
    let output = list.env("LUNASEC_DEGRADE__ON_STORAGE_OUTAGE", "journal").output().unwrap();
    let words = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && words.contains("in use by a running sidecar"), "{words}");
}

#[test]
fn a_full_disk_is_a_full_journal_until_there_is_room_and_costs_nothing() {
    in_mount_namespace(
        "rounds::disk::a_full_disk_is_a_full_journal_until_there_is_room_and_costs_nothing",
        || {
            let (mut site, mut values) = away(small("12m").keeping());
            let state = site.directory.join("state");
            let (ballast, rest) = (state.join("ballast"), state.join("rest"));
            fs::write(&ballast, vec![7; 4 << 20]).unwrap();
            let full = |values: &mut Values, site: &Site| {
                for length in [200_000, 20_000, 10] {
                    let refused = loop {
                        if let Some(refused) = values.tokenize(site.here(), length) {
                            break refused;
                        }
                    };
                    assert_eq!(refused.code(), "journal_full", "{}", refused.text());
                }
            };
            full(&mut values, &site);
            fill(&rest);
            full(&mut values, &site);
            values.check(site.here());
            let ready = lunasec_tests::raw::get_tcp(&site.here().admin(), "/ready");
            assert_eq!(ready.status, 200);
            // There is room, and it goes on by itself.
            fs::remove_file(&ballast).unwrap();
            let before = values.0.len();
            for _ in 0..20 {
                assert!(values.tokenize(site.here(), 1_000).is_none());
            }
            assert_eq!(values.0.len(), before + 20);
            // Full again, killed, and started while it is: what waits is read, and nothing is taken.
            fill(&ballast);
            full(&mut values, &site);
            site.here.as_mut().unwrap().kill();
            fill(&state.join("more"));
            site.start();
            values.check(site.here());
            full(&mut values, &site);
            // Nobody else gets at it meanwhile, although its files are closed and opened anew.
            is_kept(&mut site);
            // Also when storage is back: what waits reaches it.
            site.proxy.gone.send(false).unwrap();
            let fresh = site.fresh();
            eventually("what waits is stored", || values.count(&fresh.1) == values.0.len());
            eventually("it is stored again", || {
                let answer = site.here().post("/v1/tokenize", &json!({ "value": "value" }));
                answer.status == 200 && answer.json()["durability"] == "stored"
            });
            fs::remove_file(&ballast).unwrap();
            site.drain();
            values.check(site.here());
            println!("{} values outlived a full disk", values.0.len());
            // And once there is room, it is a journal again.
            site.proxy.gone.send(true).unwrap();
            while site.is_drained() {
                assert!(values.tokenize(site.here(), 10).is_none());
            }
            unmount(&site);
        },
    );
}

#[test]
fn a_disk_that_is_full_before_there_is_anything_on_it_is_used_once_there_is_room() {
    in_mount_namespace(
        "rounds::disk::a_disk_that_is_full_before_there_is_anything_on_it_is_used_once_there_is_room",
        || {
            let mut site = small("12m");
            let state = site.directory.join("state");
            fill(&state.join("ballast"));
            site.start();
            let mut values = Values::default();
            assert!(values.tokenize(site.here(), 10).is_none());
            site.proxy.gone.send(true).unwrap();
            eventually("storage is known to be away", || {
                let refused = values.tokenize(site.here(), 10);
                refused.is_some_and(|refused| refused.code() == "journal_full")
            });
            values.check(site.here());
            fs::remove_file(state.join("ballast")).unwrap();
            eventually("there is a journal", || values.tokenize(site.here(), 10).is_none());
            site.proxy.gone.send(false).unwrap();
            site.drain();
            values.check(&site.fresh().1);
            unmount(&site);
        },
    );
}

#[test]
fn a_disk_that_becomes_read_only_refuses_what_is_new_and_reads_what_waits() {
    in_mount_namespace(
        "rounds::disk::a_disk_that_becomes_read_only_refuses_what_is_new_and_reads_what_waits",
        || {
            let (site, mut values) = away(small("24m"));
            let state = site.directory.join("state");
            for _ in 0..20 {
                assert!(values.tokenize(site.here(), 1_000).is_none());
            }
            // What is open for writing keeps a mount from becoming read-only: so first its writes fail.
            limit_writes(site.here(), Some(0));
            let refuses = |values: &mut Values| {
                let refused = values.tokenize(site.here(), 10).expect("nothing can be written");
                assert_eq!(refused.code(), "storage_unavailable", "{}", refused.text());
                let once =
                    site.here().post_once("/v1/tokenize", "key", &json!({ "value": "value" }));
                assert_eq!(once.code(), "storage_unavailable");
            };
            refuses(&mut values);
            values.check(site.here());
            remount(&state, "ro");
            limit_writes(site.here(), None);
            for _ in 0..3 {
                refuses(&mut values);
                values.check(site.here());
            }
            remount(&state, "rw");
            assert!(values.tokenize(site.here(), 10).is_none(), "it goes on by itself");
            site.proxy.gone.send(false).unwrap();
            site.drain();
            values.check(&site.fresh().1);
            unmount(&site);
        },
    );
}

/// Nothing is kept from then on, and that is shown.
#[test]
fn a_disk_cache_that_cannot_forget_is_given_up() {
    let mut site = Site::new(Engine::Moto).keeping();
    site.start();
    let mut values = Values::default();
    assert!(values.tokenize(site.here(), 10).is_none());
    let keeps = |on| {
        let shown = lunasec_tests::raw::get_tcp(&site.here().admin(), "/metrics").text();
        status(site.here())["caches"]["disk"] == if on { "on" } else { "off" }
            && shown.contains(&format!("lunasec_disk_cache_on {}\n", u8::from(on)))
    };
    assert!(keeps(true));
    let kept = site.directory.join("state/cache.redb");
    assert!(kept.exists());
    limit_writes(site.here(), Some(0));
    let tokens: Vec<_> = values.0.iter().map(|(token, _)| token).collect();
    let gone = site.here().post("/v1/delete", &json!({ "tokens": tokens }));
    assert_eq!(gone.json()["items"][0]["durability"], "stored");
    assert!(keeps(false) && !kept.exists(), "{}", site.here().log());
}

/// Ways to damage a file, each with its name.
fn damages(whole: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = whole.to_vec();
        change(&mut bytes);
        bytes
    };
    let (length, end) = (whole.len(), used(whole));
    vec![
        ("empty", vec![]),
        ("half", changed(&|bytes| bytes.truncate(length / 2))),
        ("last page cut off", changed(&|bytes| bytes.truncate(end - PAGE))),
        ("last pages zeroed", changed(&|bytes| bytes[end - 4 * PAGE..].fill(0))),
        ("last half page zeroed", changed(&|bytes| bytes[end - PAGE / 2..].fill(0))),
        ("first page zeroed", changed(&|bytes| bytes[..PAGE].fill(0))),
        ("text", b"no journal\n".to_vec()),
    ]
}

/// Bytes up to the end of the last page that holds anything.
fn used(whole: &[u8]) -> usize {
    let last = whole.iter().rposition(|byte| *byte != 0).unwrap();
    (last / PAGE + 1) * PAGE
}

/// Unless what is torn off holds nothing, and then all of it is there.
#[test]
fn a_torn_journal_is_refused_in_words_that_help_and_left_as_it_is() {
    let (mut site, mut values) = away(Site::new(Engine::Moto));
    for length in [10, 1_000, 20_000].into_iter().cycle().take(60) {
        assert!(values.tokenize(site.here(), length).is_none());
    }
    let waits = site.pending();
    site.here.as_mut().unwrap().kill();
    let journal = site.directory.join("state/journal.redb");
    let whole = fs::read(&journal).unwrap();
    let mut refused = 0;
    for (name, bytes) in damages(&whole) {
        assert_ne!(bytes, whole, "{name} is no damage");
        fs::write(&journal, &bytes).unwrap();
        match site.try_start() {
            Ok(sidecar) => {
                site.here = Some(sidecar);
                assert_eq!(site.pending(), waits, "{name}: something is missing");
                site.here.as_mut().unwrap().kill();
            }
            Err((status, log)) => {
                refused += 1;
                assert_eq!(status.code(), Some(3), "{name}: {log}");
                let words =
                    ["journal.redb is damaged", "may be nowhere else", "move the file away"];
                assert!(words.iter().all(|word| log.contains(word)), "{name}: {log}");
                assert_eq!(fs::read(&journal).unwrap(), bytes, "{name}: it was written to");
            }
        }
        assert!(journal.exists(), "{name}");
    }
    assert!(refused > 0);
    println!("{refused} torn journals were refused");
    // The volume's snapshot.
    fs::write(&journal, &whole).unwrap();
    site.start();
    site.proxy.gone.send(false).unwrap();
    site.drain();
    values.check(&site.fresh().1);
    // Moved away, what waits in it waits there, and all else goes on.
    site.here.as_mut().unwrap().kill();
    fs::rename(&journal, journal.with_extension("kept")).unwrap();
    site.start();
    values.check(site.here());
}

#[test]
fn what_has_waited_for_too_long_is_kept_until_an_operator_has_it_replayed() {
    let mut site = Site::new(Engine::Moto);
    site.more = vec![("LUNASEC_DEGRADE__JOURNAL_AGE", "1s")];
    let (mut site, mut values) = away(site);
    eventually("it takes no more", || {
        values.tokenize(site.here(), 10).is_some_and(|refused| refused.code() == "journal_full")
    });
    let said = |site: &Site| site.here().log().contains("and is not replayed");
    eventually("it is said", || said(&site));
    site.proxy.gone.send(false).unwrap();
    site.here.as_mut().unwrap().kill();
    site.start();
    eventually("it is said again", || said(&site));
    assert_eq!(status(site.here())["journal"]["stale"], true);
    let shown =
        site.cloud.lunasec().arg("status").arg("--socket").arg(site.here().socket()).output();
    let shown = String::from_utf8(shown.unwrap().stdout).unwrap();
    assert!(shown.contains("--replay-stale-journal"), "{shown}");
    assert!(!site.is_drained());
    assert!(values.count(&site.fresh().1) < values.0.len());
    site.here.as_mut().unwrap().kill();
    site.arguments = vec!["--replay-stale-journal"];
    site.start();
    site.drain();
    values.check(&site.fresh().1);
    assert!(is_there(&site.directory));
    assert!(status(site.here())["journal"].get("stale").is_none());
}

fn status(sidecar: &Sidecar) -> serde_json::Value {
    lunasec_tests::raw::get_tcp(&sidecar.admin(), "/status").json()
}

fn is_there(directory: &Path) -> bool {
    directory.join("state/journal.redb").exists()
}

/// A journal that ends with a machine is one that its operator has to know of.
#[test]
fn a_journal_that_does_not_stay_is_warned_of_by_check_and_at_the_start() {
    in_mount_namespace(
        "rounds::disk::a_journal_that_does_not_stay_is_warned_of_by_check_and_at_the_start",
        || {
            let (site, _) = away(small("12m"));
            let warning = "is in memory (tmpfs) and ends with this machine";
            assert!(site.here().log().contains(warning), "{}", site.here().log());
            let check = |on_outage: &str| {
                let mut command = site.cloud.lunasec();
                command.args(["check", "--config"]).arg(site.directory.join("lunasec.toml"));
                command.env("LUNASEC_DEGRADE__ON_STORAGE_OUTAGE", on_outage);
                let output = command.output().unwrap();
                assert!(output.status.success());
                String::from_utf8(output.stdout).unwrap()
            };
            let said = check("journal");
            let room = "MiB more may be written there (degrade.journal_bytes";
            assert!(site.here().log().contains(room), "{}", site.here().log());
            let words =
                [warning, room, "warning: degrade.state_dir", "put it on a persistent volume"];
            assert!(words.iter().all(|word| said.contains(word)), "{said}");
            let said = check("reject");
            assert!(!said.contains(warning) && !said.contains(room), "{said}");
            unmount(&site);
        },
    );
}
