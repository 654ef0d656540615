//! Storage that answers, and what it answers is 503, by a fake on the wire.

use std::sync::{Arc, Mutex};

use lunasec_tests::{
    aws::{Cloud, wait},
    fake::{Asked, Fake, Fault, serve},
};

use super::{MANY, Site};

const EVERYTHING: [Asked; 3] = [Asked::Get, Asked::Put, Asked::List];

fn suffers(what: &str, fault: &Fault) {
    let fake = Arc::new(Mutex::new(Fake::new("bucket", "key")));
    let cloud = Cloud::fake(&wait(serve(Arc::clone(&fake))), "bucket", "key");
    Site::of(cloud).suffers(what, |_, clients| {
        for asked in EVERYTHING {
            fake.lock().unwrap().fail(asked, usize::MAX, fault.clone());
        }
        clients.wait_for(MANY);
        fake.lock().unwrap().heal();
    });
}

#[test]
fn a_storm_of_503_slow_down_costs_nothing() {
    suffers("503 SlowDown", &Fault::Refuse(503, "SlowDown"));
}

#[test]
fn a_storm_of_503_without_a_word_costs_nothing() {
    suffers("503", &Fault::Refuse(503, ""));
}

#[test]
fn answers_that_are_lost_for_a_while_cost_nothing() {
    suffers("answers lost", &Fault::LoseAnswer);
}
