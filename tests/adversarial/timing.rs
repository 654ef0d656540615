//! Holds: a session with grants of his own, tokens of others, and ones that he made up. Lacks: grants for those.
//!
//! Tries: to tell by the time of a refusal whether a token exists. The sidecar says so by its code, as README.md states, to
//! the application; one that answers both alike must not be given away by its sidecar's time. Stopped by: whoever has
//! no grant has two reads of storage behind him either way, of the grant and then of the value, whatever is remembered.
//!
//! Storage is some milliseconds away, the same for what is there and for what is not, so that nothing but the sidecar can
//! tell the two apart. Requests of both kinds take turns, so that whatever else the machine does falls on both; each token is
//! asked for twice, in two rounds, since a refusal itself may leave something in memory. What is
//! judged is the chance that a refusal of the one kind took longer than one of the other: 0.5 if they are alike, whatever
//! the times themselves are. With 200 of each it is within 0.03 of that in two of three runs, by chance alone. 0.25 leaves
//! room for what a build without optimisation takes to open a small value; where one read of storage is missing, it is near 0
//! or 1. So what is found is a read that is missing, and not microseconds.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use lunasec_tests::{
    Answer, Raw,
    apart::{grant, strict},
    aws::{Cloud, wait},
    fake::{Asked, Fake, Fault, serve},
    sidecar::{random_hex, unknown_token},
};
use serde_json::json;

use crate::{
    attack::{End, OWN, SECRET, decide, reveal_as},
    storage::{Pod, pod},
};

const LATENCY: Duration = Duration::from_millis(4);
const PAIRS: usize = 200;
/// How far from 0.5 the chance may be where two kinds are alike, and how far it must be where they are not.
const ALIKE: f64 = 0.25;
const APART: f64 = 0.35;

/// One whose reads all take the same time.
fn cloud() -> Cloud {
    let (bucket, key) = (random_hex(4), format!("alias/{}", random_hex(4)));
    let fake = Arc::new(Mutex::new(Fake::new(&bucket, &key)));
    fake.lock().unwrap().fail(Asked::Get, usize::MAX, Fault::Delay(LATENCY));
    Cloud::fake(&wait(serve(fake)), &bucket, &key)
}

/// A sidecar that has read nothing of the victim's, and knows the attacker.
fn mallorys(cloud: &Cloud) -> Pod {
    let pod = pod(cloud, &strict());
    let own = pod.tokenize(OWN);
    grant(&pod, "mallory", &[&own]);
    assert_eq!(reveal_as(&pod, "mallory", &own).json()["value"], OWN);
    pod
}

fn tokens(pod: &Pod, count: usize, value: &str) -> Vec<String> {
    (0..count).map(|_| pod.tokenize(value)).collect()
}

fn made_up(count: usize) -> Vec<String> {
    (0..count).map(|_| unknown_token()).collect()
}

fn ask(raw: &mut Raw, token: &str) -> Answer {
    let headers = [("lunasec-session", "mallory")];
    raw.post_with("/v1/detokenize", &headers, json!({ "token": token }).to_string().as_bytes())
}

/// The chance that the refusal of one of `first` takes longer than that of one of `second`: of rounds in which each is asked
/// twice, the second time at once, that which is the furthest from 0.5. A round takes seconds, so that in the next one what is
/// remembered of what is not there is old.
fn chance(pod: &Pod, first: &[String], second: &[String]) -> f64 {
    let rounds = [round(pod, first, second), round(pod, first, second)];
    let chances = rounds.into_iter().flatten();
    chances
        .fold(0.5, |worst: f64, it| if (it - 0.5).abs() > (worst - 0.5).abs() { it } else { worst })
}

/// Of those asked for the first time in it, and of those asked for again at once.
fn round(pod: &Pod, first: &[String], second: &[String]) -> [f64; 2] {
    assert_eq!(first.len(), second.len());
    let mut raw = pod.connect();
    let mut times = [[Vec::new(), Vec::new()], [Vec::new(), Vec::new()]];
    for (turn, pair) in first.iter().zip(second).enumerate() {
        // Neither kind is always the one that comes right after the other.
        for which in [turn % 2, 1 - turn % 2] {
            let token = [pair.0, pair.1][which];
            for asked in &mut times {
                let began = Instant::now();
                let answer = ask(&mut raw, token);
                asked[which].push(began.elapsed());
                assert!([403, 404].contains(&answer.status), "{}", answer.text());
            }
        }
    }
    times.map(|[first, second]| {
        let pairs = first.iter().flat_map(|one| second.iter().map(move |other| one.cmp(other)));
        let won: f64 = pairs.map(|order| f64::from(order as i8 + 1) / 2.0).sum();
        won / (first.len() * second.len()) as f64
    })
}

fn judge(defence: &str, chance: f64) {
    let end = match (chance - 0.5).abs() {
        apart if apart < ALIKE => End::Stopped("they are alike".into()),
        apart if apart > APART => End::Took("which tokens exist".into()),
        _ => End::Stopped(format!("{chance} is neither")),
    };
    decide(defence, &end, "which tokens exist", "they are alike");
}

#[test]
fn denied_and_unknown_are_told_apart_by_time() {
    let cloud = cloud();
    let tokens = tokens(&pod(&cloud, &strict()), PAIRS, SECRET);
    judge("grant-before-value", chance(&mallorys(&cloud), &tokens, &made_up(PAIRS)));
}

/// What the victim has just read is in the sidecar's memory.
#[test]
fn denied_and_unknown_are_told_apart_by_time_where_the_value_was_read_lately() {
    let cloud = cloud();
    let pod = mallorys(&cloud);
    let tokens = tokens(&pod, PAIRS, SECRET);
    grant(&pod, "alice", &tokens.iter().map(String::as_str).collect::<Vec<_>>());
    for token in &tokens {
        assert_eq!(reveal_as(&pod, "alice", token).status, 200);
    }
    judge("refusal-asks-storage", chance(&pod, &tokens, &made_up(PAIRS)));
}

/// What is not defended, in the words of docs/threat-model.md.
mod stated {
    use super::*;

    #[test]
    fn the_code_of_a_refusal_tells_whether_a_token_exists() {
        let cloud = cloud();
        let pod = mallorys(&cloud);
        let (token, mut raw) = (pod.tokenize(SECRET), pod.connect());
        let (denied, unknown) = (ask(&mut raw, &token), ask(&mut raw, &unknown_token()));
        assert_eq!((denied.status, denied.code().as_str()), (403, "grant_denied"));
        assert_eq!((unknown.status, unknown.code().as_str()), (404, "not_found"));
        // And nothing else does.
        let names = |answer: &Answer| {
            let mut names: Vec<_> = answer.headers.keys().cloned().collect();
            names.sort();
            names
        };
        assert_eq!(names(&denied), names(&unknown));
        let members = |answer: &Answer| -> Vec<String> {
            answer.json().as_object().unwrap().keys().cloned().collect()
        };
        assert_eq!(members(&denied), members(&unknown));
        assert!(!denied.text().contains(SECRET));
    }

    /// A refusal reads and opens the whole value, to know whether it is alive.
    #[test]
    fn the_time_of_a_refusal_tells_a_large_value_from_a_small_one() {
        let cloud = cloud();
        let first = pod(&cloud, &strict());
        let (large, small) =
            (tokens(&first, 40, &"x".repeat(1_000_000)), tokens(&first, 40, SECRET));
        let chance = chance(&mallorys(&cloud), &large, &small);
        assert!(chance > 0.5 + APART, "{chance}");
    }
}
