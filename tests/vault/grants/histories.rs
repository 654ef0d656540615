//! Random histories, by one and by two sidecars, beside a model of what grants mean.

use std::collections::HashMap;

use futures_util::future::join_all;
use lunasec_api::Code;
use lunasec_core::{
    grant::Action,
    ids::{Millis, Session},
    token::Token,
};
use lunasec_sidecar::vault::Verdict;
use lunasec_tests::{Backend, Dice, World, grants::session, world::START};

use super::{HOUR, MS};

const SESSIONS: usize = 3;
const TOKENS: usize = 4;
const STEPS: usize = 30;

/// Who may do what with which token: all by their places in the lists.
type Key = (usize, usize, Action);

/// What grants mean, without a store.
struct Model {
    now: Millis,
    /// Until when, for each token; none once it was deleted.
    tokens: Vec<Option<Millis>>,
    /// When each grant ends that was given and not taken back.
    grants: HashMap<Key, Millis>,
}

impl Model {
    /// Why a token cannot be spoken of.
    fn gone(&self, token: usize) -> Option<Code> {
        match self.tokens[token] {
            None => Some(Code::NotFound),
            Some(end) if end <= self.now => Some(Code::Expired),
            Some(_) => None,
        }
    }

    fn verdict(&self, key: Key) -> Result<Verdict, Code> {
        self.gone(key.1).map_or(Ok(()), Err)?;
        Ok(match self.grants.get(&key) {
            None => Verdict::Denied,
            Some(end) if *end <= self.now => Verdict::Expired,
            Some(end) => Verdict::Valid(*end),
        })
    }

    /// When the first of the actions ends.
    fn grant(&mut self, change: &Grant) -> Result<Millis, Code> {
        self.gone(change.token).map_or(Ok(()), Err)?;
        let asked = self.now + u64::try_from(change.time.as_millis()).unwrap();
        let ends = change.actions.iter().map(|action| {
            let key = (change.session, change.token, *action);
            let end = self.grants.entry(key).or_insert(asked);
            *end = asked.max(*end);
            *end
        });
        Ok(ends.min().unwrap())
    }

    /// Of how many tokens something was taken back.
    fn revoke(&mut self, session: usize, tokens: &[usize]) -> usize {
        let mut taken: Vec<_> = tokens.to_vec();
        taken.sort_unstable();
        taken.dedup();
        taken.retain(|token| {
            let ends = Action::ALL.map(|action| self.grants.remove(&(session, *token, action)));
            ends.into_iter().flatten().any(|end| end > self.now)
        });
        taken.len()
    }

    fn revoke_all(&mut self, session: usize) {
        self.grants.retain(|key, _| key.0 != session);
    }
}

#[derive(Debug)]
struct Grant {
    session: usize,
    token: usize,
    actions: Vec<Action>,
    time: std::time::Duration,
}

/// What changes grants. Those of one step are made at once.
#[derive(Debug)]
enum Change {
    Grant(Grant),
    Revoke(usize, Vec<usize>),
    RevokeAll(usize),
}

/// A model and what it is the model of.
struct History {
    dice: Dice,
    worlds: Vec<World>,
    sessions: Vec<Session>,
    tokens: Vec<Token>,
    model: Model,
}

impl History {
    async fn new(worlds: Vec<World>) -> Self {
        let mut tokens = Vec::new();
        for at in 0..TOKENS {
            tokens.push(worlds[0].tokenize(&format!("value {at}")).await);
        }
        tokens.push(worlds[0].tokenize_for("expires", 20 * HOUR).await);
        let mut ends = vec![Some(Millis::MAX); TOKENS];
        ends.push(Some(START + 20 * 3_600_000));
        Self {
            dice: Dice::new(),
            worlds,
            sessions: (0..SESSIONS).map(|at| session(&format!("session {at}"))).collect(),
            tokens,
            model: Model { now: START, tokens: ends, grants: HashMap::new() },
        }
    }

    async fn step(&mut self) {
        match self.dice.below(10) {
            0 => {
                let token = self.dice.below(TOKENS);
                let world = self.dice.below(self.worlds.len());
                self.worlds[world].delete(&self.tokens[token]).await.unwrap();
                self.model.tokens[token] = None;
            }
            1 | 2 => {
                // To the millisecond where a grant ends, or anywhere.
                let ends: Vec<_> = self.model.grants.values().copied().collect();
                let ahead = |end: &Millis| end.checked_sub(self.model.now).filter(|by| *by > 0);
                let mut ahead: Vec<_> = ends.iter().filter_map(ahead).collect();
                ahead.sort_unstable();
                let by = match ahead.first() {
                    Some(by) if self.dice.below(2) == 0 => by - self.dice.below(2) as u64,
                    _ => self.dice.below(5 * 3_600_000) as u64,
                };
                for world in &self.worlds {
                    world.clock.pass(MS * u32::try_from(by).unwrap());
                }
                self.model.now += by;
            }
            3..6 => {
                let grants: Vec<_> = (0..=self.dice.below(6)).map(|_| self.any_grant()).collect();
                self.make(grants.into_iter().map(Change::Grant).collect()).await;
            }
            _ => {
                // Each session by itself, so that the order between them does not matter.
                let changes = (0..SESSIONS).map(|at| self.any_change(at)).collect();
                self.make(changes).await;
            }
        }
    }

    fn any_grant(&mut self) -> Grant {
        let (from, session) = (self.dice.below(4), self.dice.below(SESSIONS));
        let actions = Action::ALL[from..=from + self.dice.below(4 - from)].into();
        let time = MS + MS * u32::try_from(self.dice.below(6 * 3_600_000)).unwrap();
        Grant { session, token: self.dice.below(TOKENS + 1), actions, time }
    }

    fn any_change(&mut self, session: usize) -> Change {
        match self.dice.below(5) {
            0 => Change::RevokeAll(session),
            1 | 2 => {
                let tokens = (0..=self.dice.below(TOKENS)).map(|_| self.dice.below(TOKENS + 1));
                Change::Revoke(session, tokens.collect())
            }
            _ => Change::Grant(Grant { session, ..self.any_grant() }),
        }
    }

    /// Makes changes whose order does not matter all at once, each at any of the sidecars.
    async fn make(&mut self, changes: Vec<Change>) {
        let mut running = Vec::new();
        for change in &changes {
            let world = &self.worlds[self.dice.below(self.worlds.len())];
            let (sessions, tokens) = (&self.sessions, &self.tokens);
            running.push(async move {
                match change {
                    Change::Grant(grant) => {
                        let (session, token) = (&sessions[grant.session], &tokens[grant.token]);
                        world.grant(session, token, &grant.actions, grant.time).await
                    }
                    Change::Revoke(session, of) => {
                        let of: Vec<_> = of.iter().map(|at| &tokens[*at]).collect();
                        Ok(world.revoke(&sessions[*session], &of).await.unwrap() as Millis)
                    }
                    Change::RevokeAll(session) => {
                        Ok(world.revoke_all(&sessions[*session]).await.map(|()| 0).unwrap())
                    }
                }
            });
        }
        let answers = join_all(running).await;
        let alone = changes.len() == 1;
        for (change, answer) in changes.iter().zip(answers) {
            match change {
                Change::Grant(grant) => {
                    let asked = self.model.now + u64::try_from(grant.time.as_millis()).unwrap();
                    let end = self.model.grant(grant);
                    match (end, answer) {
                        (Ok(end), Ok(answered)) if alone => assert_eq!(answered, end, "{grant:?}"),
                        // A grant that was made at the same time may be longer.
                        (Ok(_), Ok(answered)) => assert!(answered >= asked, "{grant:?}"),
                        (end, answer) => assert_eq!(answer, end, "{grant:?}"),
                    }
                }
                Change::Revoke(session, tokens) => {
                    let count = self.model.revoke(*session, tokens) as Millis;
                    assert_eq!(answer, Ok(count), "{change:?}");
                }
                Change::RevokeAll(session) => self.model.revoke_all(*session),
            }
        }
    }

    /// Every sidecar says of every session, token and action what the model says.
    async fn check(&self) {
        for world in &self.worlds {
            for session in 0..SESSIONS {
                for token in 0..self.tokens.len() {
                    for action in Action::ALL {
                        let (who, what) = (&self.sessions[session], &self.tokens[token]);
                        let found = world.verdict(who, what, action).await;
                        let key = (session, token, action);
                        assert_eq!(found, self.model.verdict(key), "{key:?}");
                    }
                }
            }
        }
    }
}

async fn live(worlds: Vec<World>) {
    let mut history = History::new(worlds).await;
    for _ in 0..STEPS {
        history.step().await;
        history.check().await;
    }
}

#[tokio::test]
async fn one_sidecar_says_what_the_model_says() {
    for _ in 0..8 {
        live(vec![World::in_memory()]).await;
    }
    live(vec![World::embedded()]).await;
}

#[tokio::test]
async fn two_sidecars_say_what_the_model_says() {
    for _ in 0..8 {
        let backend = Backend::memory();
        live(vec![World::on(&backend), World::on(&backend)]).await;
    }
}
