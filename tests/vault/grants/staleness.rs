//! Sidecars that share a store and remember what they read: how stale the answer of each may be.
//!
//! The model is what lies in the store, with what was there before. An answer may be made of anything
//! that its sidecar can still believe, and of nothing else.

use std::{collections::HashMap, time::Duration};

use futures_util::future::{join, join_all};
use lunasec_api::Code;
use lunasec_core::{
    ids::{Millis, Session},
    limits::{CACHED_GRANT_AGE, CACHED_NOTHING_AGE, CACHED_VALUE_AGE},
    token::Token,
};
use lunasec_sidecar::vault::Verdict;
use lunasec_tests::{Backend, Dice, World, grants::session, world::START};

use super::{MS, REVEAL, required::strict};

const SIDECARS: usize = 3;
const SESSIONS: usize = 2;
const TOKENS: usize = 3;
const STEPS: usize = 60;
const HISTORIES: usize = 32;

/// What a name holds, and for how long that is believed after it was replaced.
trait State: Copy {
    fn age(self) -> Duration;
}

/// When a value ends; none once it was deleted.
impl State for Option<Millis> {
    fn age(self) -> Duration {
        CACHED_VALUE_AGE
    }
}

/// The generation of a session; none before its first.
impl State for Option<usize> {
    fn age(self) -> Duration {
        if self.is_some() { CACHED_GRANT_AGE } else { CACHED_NOTHING_AGE }
    }
}

#[derive(Clone, Copy)]
enum Grant {
    Never,
    Revoked,
    Made { under: Option<usize>, end: Millis },
}

impl State for Grant {
    fn age(self) -> Duration {
        if let Self::Never = self { CACHED_NOTHING_AGE } else { CACHED_GRANT_AGE }
    }
}

/// What a name held, and what of that each sidecar may still believe.
struct Past<T> {
    /// With the time at which it was replaced.
    replaced: Vec<(T, Millis)>,
    now: T,
    /// How many of the replaced ones a sidecar cannot have in mind: it has written, or read for
    /// writing, since.
    over: [usize; SIDECARS],
}

impl<T: State> Past<T> {
    fn new(now: T) -> Self {
        Self { replaced: Vec::new(), now, over: [0; SIDECARS] }
    }

    fn write(&mut self, at: Millis, state: T) {
        self.replaced.push((self.now, at));
        self.now = state;
    }

    fn is_known_to(&mut self, sidecar: usize) {
        self.over[sidecar] = self.replaced.len();
    }

    /// The end of the time in which each of the replaced ones is believed.
    fn ends(&self) -> impl Iterator<Item = (T, Millis)> {
        self.replaced.iter().map(|(state, at)| (*state, at + millis(state.age())))
    }

    fn believable(&self, sidecar: usize, now: Millis) -> Vec<T> {
        let before = self.ends().skip(self.over[sidecar]).filter(|(_, end)| now < *end);
        before.map(|(state, _)| state).chain([self.now]).collect()
    }
}

fn millis(time: Duration) -> Millis {
    time.as_millis().try_into().unwrap()
}

/// What is changed, for which session and token, all by their places in the lists.
#[derive(Clone, Copy, Debug)]
enum Change {
    Grant(usize, usize, Duration),
    Revoke(usize, usize),
    RevokeAll(usize),
    Delete(usize),
}

/// What a change answers: when a grant ends, or of how many tokens something was taken back.
type Outcome = Result<Millis, Code>;
type Answer = Result<Verdict, Code>;

struct Model {
    now: Millis,
    values: Vec<Past<Option<Millis>>>,
    sessions: Vec<Past<Option<usize>>>,
    grants: HashMap<(usize, usize), Past<Grant>>,
    /// The last generation that was made.
    last: usize,
}

impl Model {
    fn new(values: Vec<Option<Millis>>) -> Self {
        let keys = (0..SESSIONS).flat_map(|who| (0..values.len()).map(move |what| (who, what)));
        Self {
            now: START,
            grants: keys.map(|key| (key, Past::new(Grant::Never))).collect(),
            values: values.into_iter().map(Past::new).collect(),
            sessions: (0..SESSIONS).map(|_| Past::new(None)).collect(),
            last: 0,
        }
    }

    /// Every answer that this sidecar may give to whether a session may reveal a token.
    fn answers(&self, sidecar: usize, who: usize, what: usize) -> Vec<Answer> {
        let mut answers = Vec::new();
        for value in self.values[what].believable(sidecar, self.now) {
            for generation in self.sessions[who].believable(sidecar, self.now) {
                for grant in self.grants[&(who, what)].believable(sidecar, self.now) {
                    answers.push(self.answer(value, generation, grant));
                }
            }
        }
        answers
    }

    /// What is so, whatever is believed.
    fn truth(&self, who: usize, what: usize) -> Answer {
        let generation = self.sessions[who].now;
        self.answer(self.values[what].now, generation, self.grants[&(who, what)].now)
    }

    fn answer(&self, value: Option<Millis>, generation: Option<usize>, grant: Grant) -> Answer {
        self.alive(value)?;
        Ok(match grant {
            Grant::Made { under, end } if under == generation && end > self.now => {
                Verdict::Valid(end)
            }
            Grant::Made { under, .. } if under == generation => Verdict::Expired,
            _ => Verdict::Denied,
        })
    }

    fn alive(&self, value: Option<Millis>) -> Result<(), Code> {
        match value {
            None => Err(Code::NotFound),
            Some(end) if end <= self.now => Err(Code::Expired),
            Some(_) => Ok(()),
        }
    }

    /// Does what a sidecar did, and checks what it answered.
    fn make(&mut self, sidecar: usize, change: Change, outcome: Outcome) {
        match change {
            Change::Grant(who, what, time) => self.grant(sidecar, (who, what), time, outcome),
            Change::Revoke(who, what) => {
                let valid = matches!(self.truth_of_grant(who, what), Verdict::Valid(_));
                assert_eq!(outcome, Ok(valid.into()), "{change:?}");
                let grant = self.grants.get_mut(&(who, what)).unwrap();
                if let Grant::Made { .. } = grant.now {
                    grant.write(self.now, Grant::Revoked);
                }
            }
            Change::RevokeAll(who) if self.sessions[who].now.is_some() => self.renew(who),
            Change::RevokeAll(_) => {}
            Change::Delete(what) => self.values[what].write(self.now, None),
        }
    }

    /// Of the grant alone, also where the value is gone.
    fn truth_of_grant(&self, who: usize, what: usize) -> Verdict {
        let generation = self.sessions[who].now;
        self.answer(Some(Millis::MAX), generation, self.grants[&(who, what)].now).unwrap()
    }

    fn renew(&mut self, who: usize) {
        self.last += 1;
        self.sessions[who].write(self.now, Some(self.last));
    }

    /// Whether the token exists is asked of what is remembered, when its grant ended is not.
    fn grant(&mut self, sidecar: usize, key: (usize, usize), time: Duration, outcome: Outcome) {
        if self.sessions[key.0].now.is_none() {
            self.renew(key.0);
        }
        let values = self.values[key.1].believable(sidecar, self.now).into_iter();
        let exists: Vec<_> = values.map(|value| self.alive(value)).collect();
        assert!(exists.contains(&outcome.map(|_| ())), "{outcome:?} is none of {exists:?}");
        let Ok(answered) = outcome else { return };
        let mut end = self.now + millis(time);
        match self.truth_of_grant(key.0, key.1) {
            Verdict::Valid(longer) if longer >= end => end = longer,
            _ => {
                let made = Grant::Made { under: self.sessions[key.0].now, end };
                self.grants.get_mut(&key).unwrap().write(self.now, made);
            }
        }
        assert_eq!(answered, end);
    }

    /// From now on the sidecar that made a change sees it, and what it read for that.
    fn settle(&mut self, sidecar: usize, change: Change, outcome: Outcome) {
        match change {
            Change::Delete(what) => self.values[what].is_known_to(sidecar),
            Change::RevokeAll(who) => self.sessions[who].is_known_to(sidecar),
            Change::Grant(who, what, _) | Change::Revoke(who, what) => {
                self.sessions[who].is_known_to(sidecar);
                if outcome.is_ok() {
                    self.grants.get_mut(&(who, what)).unwrap().is_known_to(sidecar);
                }
            }
        }
    }

    /// When something ends, or is not believed any more.
    fn moments(&self) -> Vec<Millis> {
        let grants = || self.grants.values();
        let made = grants().filter_map(|grant| match grant.now {
            Grant::Made { end, .. } => Some(end),
            _ => None,
        });
        let mut moments: Vec<_> = made.chain(self.values.iter().filter_map(|it| it.now)).collect();
        moments.extend(self.values.iter().flat_map(Past::ends).map(|(_, end)| end));
        moments.extend(self.sessions.iter().flat_map(Past::ends).map(|(_, end)| end));
        moments.extend(grants().flat_map(Past::ends).map(|(_, end)| end));
        moments.retain(|at| (self.now + 1..self.now + 100_000).contains(at));
        moments
    }
}

/// Whether a session may reveal a token, asked of a sidecar, by trying or not.
#[derive(Debug)]
struct Question {
    sidecar: usize,
    who: usize,
    what: usize,
    tries: bool,
    /// How many turns it leaves to others first.
    late: usize,
}

/// How often answers were behind the truth, so that it is known that anything was proven.
#[derive(Default)]
struct Behind {
    allowed: usize,
    refused: usize,
}

struct History {
    dice: Dice,
    worlds: Vec<World>,
    sessions: Vec<Session>,
    tokens: Vec<Token>,
    model: Model,
    behind: Behind,
}

impl History {
    async fn new() -> Self {
        let backend = Backend::memory();
        let worlds: Vec<_> = (0..SIDECARS).map(|_| World::remembering(&backend)).collect();
        let mut tokens = Vec::new();
        for at in 0..TOKENS {
            tokens.push(worlds[at % SIDECARS].tokenize(&format!("value {at}")).await);
        }
        let time = Duration::from_secs(200);
        tokens.push(worlds[0].tokenize_for("expires", time).await);
        let mut values = vec![Some(Millis::MAX); TOKENS];
        values.push(Some(START + millis(time)));
        Self {
            dice: Dice::new(),
            worlds,
            sessions: (0..SESSIONS).map(|at| session(&format!("session {at}"))).collect(),
            tokens,
            model: Model::new(values),
            behind: Behind::default(),
        }
    }

    async fn live(mut self) -> Behind {
        for _ in 0..STEPS {
            if self.dice.below(2) == 0 {
                self.pass();
            } else {
                self.change().await;
            }
            let questions = self.questions();
            let answers = self.ask(&questions).await;
            self.check(&questions, &answers);
        }
        self.behind
    }

    /// To a moment at which an answer changes, to the last millisecond before it, or to any other.
    fn pass(&mut self) {
        let moments = self.model.moments();
        let by = if moments.is_empty() || self.dice.below(3) == 0 {
            self.dice.below(15_000) as u64
        } else {
            let at = moments[self.dice.below(moments.len())];
            at - self.model.now - self.dice.below(2) as u64
        };
        for world in &self.worlds {
            world.clock.pass(Duration::from_millis(by));
        }
        self.model.now += by;
    }

    /// Whoever asks while something is changed may hear of it or not, and nothing else.
    async fn change(&mut self) {
        let (sidecar, change) = (self.dice.below(SIDECARS), self.any_change());
        let meanwhile = self.questions();
        let (outcome, answers) = join(self.make(sidecar, change), self.ask(&meanwhile)).await;
        self.model.make(sidecar, change, outcome);
        self.check(&meanwhile, &answers);
        self.model.settle(sidecar, change, outcome);
    }

    fn any_change(&mut self) -> Change {
        let (who, what) = (self.dice.below(SESSIONS), self.dice.below(TOKENS + 1));
        match self.dice.below(16) {
            0 => Change::Delete(self.dice.below(TOKENS)),
            1..4 => Change::RevokeAll(who),
            4..8 => Change::Revoke(who, what),
            _ => Change::Grant(who, what, MS + MS * self.dice.below(90_000).try_into().unwrap()),
        }
    }

    async fn make(&self, sidecar: usize, change: Change) -> Outcome {
        let world = &self.worlds[sidecar];
        match change {
            Change::Grant(who, what, time) => {
                world.grant(&self.sessions[who], &self.tokens[what], &REVEAL, time).await
            }
            Change::Revoke(who, what) => {
                let revoked = world.revoke(&self.sessions[who], &[&self.tokens[what]]).await;
                revoked.map(|count| count as Millis)
            }
            Change::RevokeAll(who) => world.revoke_all(&self.sessions[who]).await.map(|()| 0),
            Change::Delete(what) => world.delete(&self.tokens[what]).await.map(|()| 0),
        }
    }

    fn questions(&mut self) -> Vec<Question> {
        let any = |_| Question {
            sidecar: self.dice.below(SIDECARS),
            who: self.dice.below(SESSIONS),
            what: self.dice.below(TOKENS + 1),
            tries: self.dice.below(2) == 0,
            late: self.dice.below(30),
        };
        (0..16).map(any).collect()
    }

    async fn ask(&self, questions: &[Question]) -> Vec<Result<Option<Verdict>, Code>> {
        let answer = async |question: &Question| {
            let world = &self.worlds[question.sidecar];
            let (who, what) = (&self.sessions[question.who], &self.tokens[question.what]);
            for _ in 0..question.late {
                tokio::task::yield_now().await;
            }
            if question.tries {
                let revealed = world.vault.detokenize(&strict(Some(who)), what).await;
                revealed.map(|_| None).map_err(|failure| failure.code)
            } else {
                world.verdict(who, what, REVEAL[0]).await.map(Some)
            }
        };
        join_all(questions.iter().map(answer)).await
    }

    fn check(&mut self, questions: &[Question], answers: &[Result<Option<Verdict>, Code>]) {
        for (question, answer) in questions.iter().zip(answers) {
            let Question { sidecar, who, what, tries, .. } = *question;
            let heard = |answer: &Answer| if tries { tried(*answer) } else { answer.map(Some) };
            let may: Vec<_> = self.model.answers(sidecar, who, what).iter().map(heard).collect();
            let now = self.model.now - START;
            assert!(may.contains(answer), "at {now}, {question:?}: {answer:?} is none of {may:?}");
            let truth = heard(&self.model.truth(who, what));
            let is_allowed = |it: &_| matches!(it, Ok(None | Some(Verdict::Valid(_))));
            match (is_allowed(&truth), is_allowed(answer)) {
                (false, true) => self.behind.allowed += 1,
                (true, false) => self.behind.refused += 1,
                _ => {}
            }
        }
    }
}

/// What whoever tries is told.
fn tried(verdict: Answer) -> Result<Option<Verdict>, Code> {
    match verdict? {
        Verdict::Valid(_) => Ok(None),
        Verdict::Denied => Err(Code::GrantDenied),
        Verdict::Expired => Err(Code::GrantExpired),
    }
}

#[tokio::test]
async fn no_answer_is_staler_than_documented() {
    let mut behind = Behind::default();
    for _ in 0..HISTORIES {
        let found = History::new().await.live().await;
        behind.allowed += found.allowed;
        behind.refused += found.refused;
    }
    // Where nothing was ever behind, nothing was remembered.
    assert!(behind.allowed > 0 && behind.refused > 0);
}
