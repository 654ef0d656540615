//! Sidecars on one bucket and one key, under a time and faults that a seed decides: whatever happens, what was
//! acknowledged holds. CONTRIBUTING.md says how to run more seeds, or one.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "in a test, a panic is the report"
)]

mod chaos;
mod client;
mod luck;
mod model;
mod network;
mod planted;
mod play;
mod scene;
mod site;

use std::{collections::BTreeMap, env, thread, time::Duration};

use planted::Plant;
use play::{Played, play};

/// How many seeds are played unless `SIMULATION_SEEDS` says otherwise.
const SEEDS: u64 = 100;
/// Within how many a planted defect has to be found.
const PLANTED_SEEDS: u64 = 400;
/// Events that a failure tells.
const TOLD: usize = 60;

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// Plays seeds on all processors; the first that fail, and the figures.
fn seeds(from: u64, count: u64, plant: Plant) -> (Vec<(u64, Played)>, Figures) {
    let threads = thread::available_parallelism().map_or(2, usize::from) as u64;
    let parts: Vec<_> = (0..threads)
        .map(|part| {
            thread::spawn(move || {
                let (mut failed, mut figures) = (Vec::new(), Figures::default());
                for seed in (from + part..from + count).step_by(threads as usize) {
                    let played = play(seed, plant, TOLD);
                    figures.take(&played);
                    if !played.violations.is_empty() && failed.len() < 5 {
                        failed.push((seed, played));
                    }
                }
                (failed, figures)
            })
        })
        .collect();
    let (mut failed, mut figures) = (Vec::new(), Figures::default());
    for part in parts {
        let (seeds, part) = part.join().unwrap();
        failed.extend(seeds);
        figures.add(part);
    }
    failed.sort_by_key(|(seed, _)| *seed);
    (failed, figures)
}

/// What was done in all.
#[derive(Default)]
struct Figures {
    seeds: u64,
    failed: u64,
    time: Duration,
    counts: BTreeMap<String, u64>,
}

impl Figures {
    fn take(&mut self, played: &Played) {
        self.seeds += 1;
        self.failed += u64::from(!played.violations.is_empty());
        self.time += played.time;
        for (what, count) in &played.counts {
            *self.counts.entry(what.clone()).or_default() += count;
        }
    }

    fn add(&mut self, other: Self) {
        self.seeds += other.seeds;
        self.failed += other.failed;
        self.time += other.time;
        for (what, count) in other.counts {
            *self.counts.entry(what).or_default() += count;
        }
    }

    fn print(&self) {
        let hours = self.time.as_secs() / 3_600;
        println!("{} seeds, {} failed, {hours} hours of their time", self.seeds, self.failed);
        self.counts.iter().for_each(|(what, count)| println!("{count:>10} {what}"));
    }
}

fn report(failed: &[(u64, Played)]) {
    for (seed, played) in failed {
        println!("\nSIMULATION_SEED={seed}");
        played.history.iter().for_each(|event| println!("{event}"));
        played.violations.iter().take(10).for_each(|violation| println!("  !! {violation}"));
    }
}

#[test]
fn whatever_happens_what_was_acknowledged_holds() {
    if let Some(seed) = number("SIMULATION_SEED") {
        let played = play(seed, Plant::None, usize::MAX);
        let failed = !played.violations.is_empty();
        report(&[(seed, played)]);
        assert!(!failed, "seed {seed} fails");
        return;
    }
    let count = number("SIMULATION_SEEDS").unwrap_or(SEEDS);
    let (failed, figures) = seeds(number("SIMULATION_FROM").unwrap_or(1), count, Plant::None);
    report(&failed);
    figures.print();
    assert!(failed.is_empty(), "{} of {} seeds fail", figures.failed, figures.seeds);
}

#[test]
fn a_seed_replays_exactly() {
    for seed in 1..=5 {
        let [one, other] = [0, 1].map(|_| play(seed, Plant::None, usize::MAX));
        for (one, other) in one.history.iter().zip(&other.history) {
            assert_eq!(one, other, "seed {seed}");
        }
        assert_eq!((one.digest, one.time), (other.digest, other.time), "seed {seed}");
    }
}

/// The first seed that finds what is planted, and what it says; from one on that is not far from it.
fn found(plant: Plant, from: u64) {
    let found = (from..from + PLANTED_SEEDS).find_map(|seed| {
        let played = play(seed, plant, TOLD);
        Some((seed, played.violations.first()?.clone()))
    });
    let (seed, violation) = found.unwrap_or_else(|| panic!("{plant:?} is not found"));
    println!("{plant:?} is found by seed {seed}: {violation}");
}

#[test]
fn an_answer_before_the_sync_is_found() {
    found(Plant::Unsynced, 1);
}

#[test]
fn a_memory_that_failures_prolong_is_found() {
    found(Plant::Rearmed, 211);
}

#[test]
fn a_broken_condition_that_counts_as_success_is_found() {
    found(Plant::Mistaken, 1);
}

#[test]
fn a_delete_that_is_undone_is_found() {
    found(Plant::Resurrects, 1);
}
