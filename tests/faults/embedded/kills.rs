use lunasec_tests::{Dice, Sidecar};

use crate::storm::{Ledger, Storm};

const WRITERS: usize = 8;
const ROUNDS: usize = 6;

#[test]
fn what_was_acknowledged_outlives_kill_9() {
    let directory = tempfile::tempdir().unwrap();
    let mut dice = Dice::new();
    let mut ledger = Ledger::default();
    for round in 0..ROUNDS {
        let mut sidecar = Sidecar::dev_in(directory.path());
        ledger.check(&sidecar);
        let storm = Storm::begin(&sidecar, WRITERS);
        storm.wait_for(dice.below(400));
        sidecar.kill();
        ledger.merge(storm.end());
        println!("round {round}: {} alive, {} deleted", ledger.alive.len(), ledger.deleted.len());
    }
    let mut sidecar = Sidecar::dev_in(directory.path());
    ledger.check(&sidecar);
    sidecar.stop();
    ledger.check(&Sidecar::dev_in(directory.path()));
}

/// Killed again and again before it serves: a start that is cut short leaves nothing that hinders
/// the next one.
#[test]
fn a_start_may_be_killed_at_any_moment() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().join("new");
    let mut dice = Dice::new();
    for _ in 0..30 {
        let mut command = lunasec_tests::sidecar::lunasec();
        command.args(["dev", "--admin", "127.0.0.1:0", "--dir"]).arg(&dir);
        let mut child = command
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        // There is no event to wait for: the moment is the point.
        std::thread::sleep(std::time::Duration::from_micros(dice.below(15_000) as u64));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let mut sidecar = Sidecar::dev_in(&dir);
    let token = sidecar.tokenize("value");
    sidecar.stop();
    assert_eq!(Sidecar::dev_in(&dir).detokenize(&token).json()["value"], "value");
}
