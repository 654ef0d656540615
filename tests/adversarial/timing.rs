//! Holds: a session with grants of his own, tokens of others, and ones that he made up. Lacks: grants for those.
//!
//! Tries: to tell by the time of a refusal whether a token exists. The sidecar says so by its code, as README.md states, to
//! the application; one that answers both alike must not be given away by its sidecar's time. Stopped by: whoever has
//! no grant has two reads of storage behind him either way, of the grant and then of the value, whatever is remembered.
//!
//! Storage is some milliseconds away, the same for what is there and for what is not, so that nothing but the sidecar can
//! tell the two apart. Requests of both kinds take turns, so that whatever else the machine does falls on both; each token is
//! asked for twice, in two rounds, since a refusal itself may leave something in memory. What is judged are medians of 200
//! each: less than a quarter of what a read of storage takes is alike, more than a half is apart. So what is found is a read that
//! is missing. That a value is opened is told by less: microseconds, or in a build without optimisation a tenth of a
//! millisecond, beside what a network varies by.

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

/// What refusals of tokens of two kinds took: asked for the first time in a round, and again at once.
type Times = [[Vec<Duration>; 2]; 2];

fn round(pod: &Pod, first: &[String], second: &[String]) -> Times {
    assert_eq!(first.len(), second.len());
    let mut raw = pod.connect();
    let mut times = Times::default();
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
    times
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// Asks for each twice, in two rounds. A round takes seconds, so that in the next one what is remembered of what is not there
/// is old.
fn judge(defence: &str, pod: &Pod, there: &[String], not_there: &[String]) {
    let rounds = [round(pod, there, not_there), round(pod, there, not_there)];
    let medians = rounds.into_iter().flatten().map(|kinds| kinds.map(|mut it| median(&mut it)));
    let apart = medians.map(|[there, not_there]| there.abs_diff(not_there)).max().unwrap();
    let end = match apart {
        apart if apart < LATENCY / 4 => End::Stopped("they are alike".into()),
        apart if apart > LATENCY / 2 => End::Took("which tokens exist".into()),
        _ => End::Stopped(format!("{apart:?} is neither")),
    };
    decide(defence, &end, "which tokens exist", "they are alike");
}

#[test]
fn denied_and_unknown_are_told_apart_by_time() {
    let cloud = cloud();
    let tokens = tokens(&pod(&cloud, &strict()), PAIRS, SECRET);
    judge("grant-before-value", &mallorys(&cloud), &tokens, &made_up(PAIRS));
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
    judge("refusal-asks-storage", &pod, &tokens, &made_up(PAIRS));
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
        let [[large, small], _] = round(&mallorys(&cloud), &large, &small);
        let pairs = large.iter().flat_map(|one| small.iter().map(move |other| one > other));
        let longer = pairs.filter(|longer| *longer).count();
        assert!(10 * longer > 9 * large.len() * small.len(), "{longer}");
    }
}
