//! Takes writes into a journal while the store does not answer. Reads see what waits there first.
//!
//! A name with entries in the journal is written to the journal alone, until they are replayed, so that writes of
//! one name keep their order. Wrapped keys are never journaled: a data key that only one sidecar knows would
//! seal what no other could open.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::join_all;
use lunasec_core::{limits, record::Header};

use super::{Heads, Name, Object, Over, Store, StoreError, Version, Write, version::Mark};
use crate::{
    breaker::Breaker,
    env::{Clock, millis},
    journal::{Base, Draft, Entry, Journal},
    within::within,
};

/// See the module.
pub struct Journaled {
    inner: Arc<dyn Store>,
    journal: Arc<Journal>,
    clock: Arc<dyn Clock>,
    /// Says whether the store is known to be away.
    breaker: Arc<Breaker>,
    /// Whether to take more than what waits already and what belongs to that.
    takes: bool,
    /// Until when writes go to the journal at once, in milliseconds.
    leads: AtomicU64,
}

impl Journaled {
    /// Writes to `inner`, or else to `journal`.
    pub fn new(
        inner: Arc<dyn Store>,
        journal: Arc<Journal>,
        clock: Arc<dyn Clock>,
        breaker: Arc<Breaker>,
        takes: bool,
    ) -> Self {
        Self { inner, journal, clock, breaker, takes, leads: AtomicU64::new(0) }
    }

    /// Leave to ask the store; none where the journal is to take what is written without that: the store has failed to
    /// answer just now, and a request of several steps waits for it once. A while after that one request finds out for
    /// all.
    fn may_ask(&self) -> Option<Asks<'_>> {
        let anyone = Asks { leads: &self.leads, alone: None };
        if !self.takes {
            return Some(anyone);
        }
        let (until, now) = (self.leads.load(Ordering::Relaxed), self.monotonic());
        if self.breaker.is_open() || now < until {
            return None;
        }
        let time = millis(limits::STORAGE_TIME);
        if until == 0 || now >= until + time {
            // It answered, or nobody has asked for so long that it says nothing any more.
            return Some(anyone);
        }
        let mine = now + time;
        let taken = self.leads.compare_exchange(until, mine, Ordering::Relaxed, Ordering::Relaxed);
        taken.is_ok().then_some(Asks { alone: Some((mine, until)), ..anyone })
    }

    fn monotonic(&self) -> u64 {
        millis(self.clock.monotonic())
    }

    /// Notes what the store said, if it was asked.
    fn note<T>(&self, result: &Result<T, StoreError>) {
        let leads = match result {
            Err(StoreError::Overloaded) => return,
            Err(error) if error.may_pass() => self.monotonic() + millis(limits::JOURNAL_LEAD),
            _ => 0,
        };
        self.leads.store(leads, Ordering::Relaxed);
    }

    /// The last entry of a name. What was left by a process before this one has to meet what lies there by now first, if
    /// storage can be asked.
    async fn last(&self, name: &Name) -> Result<Option<Entry>, StoreError> {
        let last = self.journal.last(name).await?;
        match &last {
            Some(entry) if self.journal.is_left(entry) && !Store::is_away(self) => {
                self.journal.bring(name).await;
                self.journal.last(name).await
            }
            _ => Ok(last),
        }
    }

    /// The last entry of a name, as an object.
    fn give(&self, entry: Entry) -> Object {
        let age = Store::is_away(self).then(|| self.journal.waited(entry.at));
        Object { age, ..Object::new(entry.bytes, Version(Mark::Entry(entry.number))) }
    }

    async fn append(&self, draft: Draft) -> Result<Version, StoreError> {
        let appended = self.append_all(vec![draft]).await.pop();
        appended.unwrap_or(Err(StoreError::Precondition))
    }

    async fn append_all(&self, drafts: Vec<Draft>) -> Vec<Result<Version, StoreError>> {
        let count = drafts.len();
        let version = |number: Option<u64>| {
            number.map(|number| Version(Mark::Entry(number))).ok_or(StoreError::Precondition)
        };
        match self.journal.append(drafts).await {
            Ok(numbers) => numbers.into_iter().map(version).collect(),
            Err(error) => vec![Err(error); count],
        }
    }

    /// What the store says to a write; none where the journal is to take it.
    async fn ask(
        &self,
        write: impl Future<Output = Result<Version, StoreError>>,
    ) -> Option<Result<Version, StoreError>> {
        let _asks = self.may_ask()?;
        let written = self.patiently(write).await.and_then(|written| written);
        self.note(&written);
        (!self.must_take(&written)).then_some(written)
    }

    /// What the store says, unless that takes so long that the steps after it would not be done in their request's time.
    /// What is written may be there all the same.
    async fn patiently<T>(&self, asked: impl Future<Output = T>) -> Result<T, StoreError> {
        if !self.takes {
            return Ok(asked.await);
        }
        let begun = self.clock.monotonic();
        within(limits::JOURNAL_PATIENCE, asked).await.ok_or_else(|| {
            let why = format!("no answer within {:?}", limits::JOURNAL_PATIENCE);
            self.breaker.waited_in_vain(begun, &why);
            StoreError::Unavailable(why)
        })
    }

    /// Whether the journal takes a write for which the store had no answer, or no room. What is only too much for a store
    /// that answers must not use up what an outage will need.
    fn must_take<T>(&self, result: &Result<T, StoreError>) -> bool {
        let Err(error) = result else { return false };
        let crowded = *error == StoreError::Overloaded && !self.journal.is_half_full();
        self.takes && (error.may_pass() || crowded)
    }

    /// Creates objects, in the journal at once if nobody is to be asked.
    async fn put_many(
        &self,
        objects: Vec<(Name, Bytes)>,
        asks: Option<Asks<'_>>,
    ) -> Vec<Result<Version, StoreError>> {
        // Names of new tokens, which need no turns, unless a retry finds its own first attempt.
        let is_known = async |name: &Name| {
            !is_journaled(name)
                || self.journal.may_hold(name)
                || self.inner.remembered(name).await.is_some()
        };
        let mut known = false;
        for (name, _) in &objects {
            known |= is_known(name).await;
        }
        if known {
            // Each of them asks for itself.
            drop(asks);
            let puts =
                objects.into_iter().map(async |(name, bytes)| self.put_new(&name, bytes).await);
            return join_all(puts).await;
        }
        let mut results = match asks {
            None => vec![Err(not_asked()); objects.len()],
            Some(_asks) => {
                let written = self.patiently(self.inner.put_new_many(objects.clone())).await;
                let results = written.unwrap_or_else(|error| vec![Err(error); objects.len()]);
                results.iter().for_each(|result| self.note(result));
                results
            }
        };
        let is_open = |at: &usize| self.must_take(&results[*at]);
        let open: Vec<usize> = (0..results.len()).filter(is_open).collect();
        if open.is_empty() {
            return results;
        }
        let drafts = open.iter().map(|at| {
            let (name, bytes) = &objects[*at];
            first(name, Base::Nothing, bytes.clone())
        });
        let appended = self.append_all(drafts.collect()).await;
        for (at, appended) in open.into_iter().zip(appended) {
            results[at] = appended;
        }
        results
    }

    /// What a read came to. What succeeds may come out of the memory, and says nothing of the store.
    fn heard<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if result.is_err() {
            self.note(&result);
        }
        result
    }

    /// A write as the journal would take it, and whether it must: something waits already, or nobody could be asked.
    async fn draft(
        &self,
        name: &Name,
        over: &Over,
        bytes: Bytes,
    ) -> Result<(Draft, bool), StoreError> {
        let draft = self.next(name, over, bytes).await?;
        // Storage would take what waits, and is not given the time: whoever writes has to slow down.
        if self.journal.is_crowded(&draft.0) && !Store::is_away(self) {
            return Err(StoreError::Overloaded);
        }
        Ok(draft)
    }

    async fn next(
        &self,
        name: &Name,
        over: &Over,
        bytes: Bytes,
    ) -> Result<(Draft, bool), StoreError> {
        match (self.journal.last(name).await?, over) {
            (Some(entry), Over::Version(Version(Mark::Entry(number))))
                if entry.number == *number =>
            {
                Ok((behind(&entry, bytes), true))
            }
            // Another has written since, or it was replayed since; what that wrote must not be lost.
            (Some(_), _) | (None, Over::Version(Version(Mark::Entry(_)))) => {
                Err(StoreError::Precondition)
            }
            (None, Over::Nothing) => Ok((first(name, Base::Nothing, bytes), false)),
            (None, Over::Version(version)) => {
                Ok((first(name, Base::Version(version.clone()), bytes), false))
            }
            (None, Over::Unknown) if !self.takes => Err(not_asked()),
            (None, Over::Unknown) => Ok((first(name, Base::Unknown, bytes), true)),
        }
    }
}

/// Held while the store is asked. Whoever asks alone and is taken back before there was an answer leaves that to the next.
struct Asks<'a> {
    leads: &'a AtomicU64,
    /// Until when the others do not ask, and what that replaced.
    alone: Option<(u64, u64)>,
}

impl Drop for Asks<'_> {
    fn drop(&mut self) {
        if let Some((mine, before)) = self.alone {
            // Unless there was one, which is noted there.
            let _ = self.leads.compare_exchange(mine, before, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}

fn not_asked() -> StoreError {
    StoreError::Unavailable("it did not answer just now, and was not asked again".into())
}

/// Records and sessions; wrapped keys are not.
fn is_journaled(name: &Name) -> bool {
    [Name::RECORDS, Name::SESSIONS].iter().any(|prefix| name.as_str().starts_with(prefix))
}

/// What comes behind an entry.
fn behind(entry: &Entry, bytes: Bytes) -> Draft {
    let base = entry.put().map_or(Base::Unknown, Base::Put);
    Draft {
        name: entry.name.clone(),
        base,
        bytes,
        last: Some(entry.number),
        alone: false,
        joined: false,
    }
}

/// What nothing waits for yet.
fn first(name: &Name, base: Base, bytes: Bytes) -> Draft {
    Draft { name: name.clone(), base, bytes, last: None, alone: false, joined: false }
}

/// Whether a record that is to be written is the very put that waits already.
fn is_same_put(bytes: &Bytes, entry: &Entry) -> bool {
    match (Header::parse(bytes), Header::parse(&entry.bytes)) {
        (Ok(ours), Ok(waiting)) => ours.put_id == waiting.put_id,
        _ => false,
    }
}

#[async_trait]
impl Store for Journaled {
    fn is_journaled(&self) -> bool {
        self.takes
    }

    fn waits(&self, name: &Name) -> bool {
        self.journal.may_hold(name)
    }

    /// Also where it has not answered just now.
    fn is_away(&self) -> bool {
        self.breaker.is_open() || self.monotonic() < self.leads.load(Ordering::Relaxed)
    }

    async fn put_new(&self, name: &Name, bytes: Bytes) -> Result<Version, StoreError> {
        if !is_journaled(name) {
            return self.inner.put_new(name, bytes).await;
        }
        let _turn = self.journal.turns.lock(name.clone()).await;
        match self.journal.last(name).await? {
            Some(entry) if is_same_put(&bytes, &entry) => Ok(Version(Mark::Entry(entry.number))),
            Some(_) => Err(StoreError::Precondition),
            None => {
                let there = self.inner.remembered(name).await;
                match self.ask(self.inner.put_new(name, bytes.clone())).await {
                    Some(written) => written,
                    // A retry must not hide what is known to have become of the first attempt.
                    None if there.is_some() => Err(StoreError::Precondition),
                    None => self.append(first(name, Base::Nothing, bytes)).await,
                }
            }
        }
    }

    async fn put_new_many(&self, objects: Vec<(Name, Bytes)>) -> Vec<Result<Version, StoreError>> {
        let asks = self.may_ask();
        self.put_many(objects, asks).await
    }

    async fn put_new_many_behind(
        &self,
        objects: Vec<(Name, Bytes)>,
    ) -> Vec<Result<Version, StoreError>> {
        let asks = if self.takes { None } else { self.may_ask() };
        self.put_many(objects, asks).await
    }

    async fn put_if(
        &self,
        name: &Name,
        bytes: Bytes,
        expected: &Version,
    ) -> Result<Version, StoreError> {
        if !is_journaled(name) {
            return self.inner.put_if(name, bytes, expected).await;
        }
        let _turn = self.journal.turns.lock(name.clone()).await;
        let over = Over::Version(expected.clone());
        let (draft, must) = self.draft(name, &over, bytes.clone()).await?;
        let written = match must {
            true => None,
            false => self.ask(self.inner.put_if(name, bytes, expected)).await,
        };
        match written {
            Some(written) => written,
            None => self.append(draft).await,
        }
    }

    async fn get(&self, name: &Name) -> Result<Option<Object>, StoreError> {
        if !is_journaled(name) {
            return self.heard(self.inner.get(name).await);
        }
        match self.last(name).await? {
            Some(entry) => Ok(Some(self.give(entry))),
            None => self.heard(self.inner.get(name).await).map_err(|error| match error {
                // It might be written all the same.
                error if self.takes && error.is_away() => StoreError::Unknown(error.to_string()),
                error => error,
            }),
        }
    }

    async fn get_now(&self, name: &Name) -> Result<Option<Object>, StoreError> {
        if !is_journaled(name) {
            return self.inner.get_now(name).await;
        }
        if let Some(entry) = self.last(name).await? {
            return Ok(Some(self.give(entry)));
        }
        let found = match self.may_ask() {
            None => Err(not_asked()),
            Some(_asks) => {
                let found = self.patiently(self.inner.get_now(name)).await.and_then(|found| found);
                self.note(&found);
                found
            }
        };
        match found {
            Err(error) if self.takes && error.may_pass() => {
                let unknown = || StoreError::Unknown(error.to_string());
                self.inner.remembered(name).await.map(Some).ok_or_else(unknown)
            }
            found => found,
        }
    }

    async fn remembered(&self, name: &Name) -> Option<Object> {
        self.inner.remembered(name).await
    }

    async fn put_over(&self, name: &Name, bytes: Bytes) -> Result<Version, StoreError> {
        let _turn = self.journal.turns.lock(name.clone()).await;
        let (draft, _) = self.draft(name, &Over::Unknown, bytes).await?;
        self.append(draft).await
    }

    async fn put_together(&self, writes: Vec<Write>) -> Vec<Result<Version, StoreError>> {
        // Whoever has both of two names has the first of them first.
        let mut turns = Vec::new();
        for write in &writes {
            turns.push(self.journal.turns.lock(write.name.clone()).await);
        }
        let (mut drafts, mut must) = (Vec::new(), false);
        for Write { name, bytes, over } in &writes {
            match self.draft(name, over, bytes.clone()).await {
                Ok((draft, its_own)) => {
                    drafts.push(Draft { joined: !drafts.is_empty(), ..draft });
                    must |= its_own;
                }
                Err(error) => return vec![Err(error)],
            }
        }
        let mut done = Vec::new();
        if !must {
            for Write { name, bytes, over } in writes {
                let written = match &over {
                    Over::Version(version) => {
                        self.ask(self.inner.put_if(&name, bytes, version)).await
                    }
                    _ => self.ask(self.inner.put_new(&name, bytes)).await,
                };
                let Some(written) = written else { break };
                done.push(written);
                if done.last().is_some_and(Result::is_err) {
                    return done;
                }
            }
        }
        let mut left = drafts.split_off(done.len());
        if let Some(first) = left.first_mut() {
            first.joined = false;
            done.extend(self.append_all(left).await);
        }
        done
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&Name>,
        limit: usize,
    ) -> Result<Vec<Name>, StoreError> {
        // What the keyring learns counts for what is sealed then.
        let listed = self.inner.list(prefix, after, limit).await;
        self.note(&listed);
        listed
    }

    async fn heads(
        &self,
        prefix: &str,
        after: Option<&Name>,
        limit: usize,
        length: usize,
    ) -> Result<Heads, StoreError> {
        self.inner.heads(prefix, after, limit, length).await
    }

    /// What waits stays: a sweep looks at what the store has.
    async fn remove_if(&self, name: &Name, expected: &Version) -> Result<bool, StoreError> {
        if self.journal.may_hold(name) {
            return Ok(false);
        }
        self.inner.remove_if(name, expected).await
    }
}
