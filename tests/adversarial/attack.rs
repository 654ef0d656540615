//! How an attack ends, and whether it may end so.

use std::collections::BTreeSet;

use lunasec_tests::{Answer, Sidecar};
use serde_json::{Value, json};

/// What the victim's token stands for, unless an attack needs another value.
pub(crate) const SECRET: &str = "4111 1111 1111 1111, of Alice";
/// What the attacker's own token stands for.
pub(crate) const OWN: &str = "a value of Mallory's";

/// How an attack ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With this in the attacker's hands.
    Took(String),
    /// With this code, or in other words without anything.
    Stopped(String),
}

impl End {
    /// Of a request to reveal a value.
    pub(crate) fn of(answer: &Answer) -> Self {
        match answer.status {
            200 => Self::Took(answer.json()["value"].as_str().unwrap().to_owned()),
            _ => Self::Stopped(answer.code()),
        }
    }

    /// Of several guesses at what would do: the first that worked, else what stopped them.
    pub(crate) fn of_any(ends: impl IntoIterator<Item = Self>) -> Self {
        let mut codes = BTreeSet::new();
        for end in ends {
            match end {
                Self::Took(_) => return end,
                Self::Stopped(code) => codes.insert(code),
            };
        }
        Self::Stopped(codes.into_iter().collect::<Vec<_>>().join(", "))
    }

    /// Of what must all work: with everything, or else with what stopped a part of it. One that works among others
    /// that do not is neither.
    pub(crate) fn of_each(ends: impl IntoIterator<Item = Self>) -> Self {
        let (mut taken, mut stopped) = (BTreeSet::new(), BTreeSet::new());
        for end in ends {
            match end {
                Self::Took(prize) => taken.insert(prize),
                Self::Stopped(code) => stopped.insert(code),
            };
        }
        let listed = |all: BTreeSet<String>| all.into_iter().collect::<Vec<_>>().join(", ");
        match (taken.is_empty(), stopped.is_empty()) {
            (_, true) => Self::Took(listed(taken)),
            (true, _) => Self::Stopped(listed(stopped)),
            _ => Self::Stopped(format!("{}, beside {}", listed(stopped), listed(taken))),
        }
    }

    /// Of a search.
    pub(crate) fn found(found: Option<String>, nothing: &str) -> Self {
        found.map_or_else(|| Self::Stopped(nothing.into()), Self::Took)
    }
}

/// Whether an attack ended as it must: with the product, for the expected reason; and with the prize against a build that
/// `run` made without `defence`. What it prints is how `run` knows that this was looked at.
#[expect(clippy::print_stdout, reason = "the test harness keeps it, and shows it to `run`")]
pub(crate) fn decide(defence: &str, end: &End, prize: &str, because: &str) {
    let Ok(without) = std::env::var("LUNASEC_WITHOUT") else {
        assert_eq!(*end, End::Stopped(because.into()), "what should have stopped it: {defence}");
        println!("decided: stopped by {defence}");
        return;
    };
    assert!(std::env::var_os("LUNASEC_BIN").is_some(), "LUNASEC_WITHOUT goes with LUNASEC_BIN");
    assert_eq!(without, defence, "this attack is one on a build without another defence");
    assert_eq!(
        *end,
        End::Took(prize.into()),
        "it fails without {defence} as well: it proves nothing"
    );
    println!("decided: works without {defence}");
}

/// Reveals for a session.
pub(crate) fn reveal_as(sidecar: &Sidecar, session: &str, token: &str) -> Answer {
    let headers = [("lunasec-session", session)];
    let body = json!({ "token": token }).to_string();
    sidecar.connect().post_with("/v1/detokenize", &headers, body.as_bytes())
}

/// A token for what a body says.
pub(crate) fn tokenize(sidecar: &Sidecar, body: &Value) -> String {
    let answer = sidecar.post("/v1/tokenize", body);
    assert_eq!(answer.status, 200, "{}\n{}", answer.text(), sidecar.log());
    answer.json()["token"].as_str().unwrap().to_owned()
}
