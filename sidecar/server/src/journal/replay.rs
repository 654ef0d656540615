//! Brings what waits to storage: in order for each name, some names at once, more of them the longer all goes
//! well. Stopped at any point it begins again where it was, for what is replayed twice has the effect of once.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use lunasec_api::Code;
use lunasec_core::{
    derive::SessionTag,
    grant::SessionState,
    ids::{Locator, PutId},
    limits,
    record::{Header, Kind, Malformed},
    replay::{self, Verdict},
};

use super::{Base, Entry, Journal, Refused};
use crate::{
    attempts::draw,
    db::DbError,
    env::Entropy,
    failure::Failure,
    keys::Keyring,
    seldom::Seldom,
    store::{Name, Object, Store, StoreError},
    telemetry::Replayed,
    within::within,
};

/// How many entries are replayed at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Pace(usize);

impl Default for Pace {
    fn default() -> Self {
        Self(1)
    }
}

impl Pace {
    fn faster(self) -> Self {
        Self((2 * self.0).min(limits::REPLAY_CONCURRENCY))
    }

    fn is_highest(self) -> bool {
        self.0 == limits::REPLAY_CONCURRENCY
    }
}

/// See the module.
pub struct Replayer {
    /// Where the entries go, below the journal.
    pub store: Arc<dyn Store>,
    /// Where they come from.
    pub journal: Arc<Journal>,
    /// Opens sessions, which are merged.
    pub keyring: Arc<Keyring>,
    /// For pauses.
    pub entropy: Arc<dyn Entropy>,
}

/// Why an entry waits on.
struct Stop {
    /// Whether the others would as well.
    away: bool,
    failure: Failure,
}

impl Stop {
    /// Whether it may be replayed soon all the same.
    fn may_pass(&self) -> bool {
        // Sessions are opened to be merged, and nothing else waits for keys.
        self.away || self.failure.code == Code::KeysUnavailable
    }

    fn of_the_disk(error: DbError) -> Self {
        let failure = Failure::caused(
            Code::StorageUnavailable,
            "the journal's disk does not do its work",
            error,
        );
        Self { away: true, failure }
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        let away = error.may_pass() || matches!(error, StoreError::Overloaded);
        Self { away, failure: error.into() }
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self { away: false, failure }
    }
}

/// What to write in the place of what is there.
enum Decision {
    Write(Bytes, Replayed),
    Leave(Replayed),
}

/// What came of the entries of one name.
struct Chained {
    name: Name,
    /// Those that need not wait any more.
    done: Vec<(u64, Replayed)>,
    /// Why the next one does.
    stop: Option<Stop>,
    /// The puts of those that do.
    left: Vec<PutId>,
}

/// When what is refused is tried again: after twice as many rounds each time.
#[derive(Default)]
struct Patience {
    round: u64,
    /// By a digest of each name, the round before which it waits, and how many it waits for.
    names: HashMap<u64, (u64, u64)>,
}

impl Patience {
    fn is_due(&self, name: u64) -> bool {
        self.names.get(&name).is_none_or(|(next, _)| *next <= self.round)
    }

    fn refused(&mut self, name: u64) {
        let (next, pause) = self.names.entry(name).or_default();
        *pause = (2 * *pause).clamp(1, limits::REPLAY_ROUNDS);
        *next = self.round + *pause;
    }
}

/// What goes on from one round to the next.
#[derive(Default)]
struct Habits {
    pace: Pace,
    patience: Patience,
}

/// What waits for what waits for a reason of its own.
#[derive(Default)]
struct Held {
    /// Later entries of the same name.
    names: HashSet<Name>,
    /// A value, for the metadata that was stored with it: nobody shall find the one without the other.
    puts: HashSet<PutId>,
}

impl Held {
    fn holds(&self, entry: &Entry) -> bool {
        self.names.contains(&entry.name)
            || header(entry).is_some_and(|header| self.puts.contains(&header.put_id))
    }

    fn hold(&mut self, entry: &Entry) {
        self.names.insert(entry.name.clone());
        self.puts.extend(entry.put());
    }
}

/// What a record says of itself; a session says nothing so.
fn header(entry: &Entry) -> Option<Header> {
    Header::parse(&entry.bytes).ok().filter(|_| !entry.name.is_session())
}

#[derive(Default)]
struct Round {
    stored: usize,
    superseded: usize,
    /// Why something waits on.
    stop: Option<Stop>,
    /// Whether some of it may be replayed soon.
    may_pass: bool,
    /// Whether something was not even tried.
    waits: bool,
    /// Of what was replayed, where more waits by now.
    left: HashSet<Name>,
}

impl Round {
    fn count(&mut self, became: Replayed) {
        match became {
            Replayed::Superseded => self.superseded += 1,
            _ => self.stored += 1,
        }
    }
}

impl Replayer {
    /// Runs for as long as the journal is used.
    pub async fn run(self) {
        let replayer = Arc::new(self);
        // There is one for each journal; of a second, the first goes on being asked.
        let _ = replayer.journal.replayer.set(Arc::downgrade(&replayer));
        replayer.rounds().await;
    }

    async fn rounds(&self) {
        let mut waiting = self.journal.watch();
        let (mut habits, mut told) = (Habits::default(), None);
        let clock = Arc::clone(&self.journal.clock);
        let reminders = Seldom::each(limits::REPLAY_STALE_REMINDER, clock);
        while waiting.wait_for(|count| *count > 0).await.is_ok() {
            if self.journal.is_stale() {
                if reminders.admit().is_some() {
                    tracing::error!(
                        "the journal is older than degrade.journal_age and is not replayed: what was deleted elsewhere since may come back; start with --replay-stale-journal to replay it all the same"
                    );
                }
                self.journal.exhausted(u64::MAX);
                tokio::time::sleep(limits::REPLAY_STALE_PAUSE).await;
                continue;
            }
            let last = self.journal.last_number();
            let Round { stored, superseded, stop, may_pass, waits, .. } =
                self.round(&mut habits).await;
            let waits = waits || stop.is_some();
            let pending = self.journal.pending().count;
            if stored + superseded > 0 {
                tracing::info!(stored, superseded, pending, "journaled writes were replayed");
                told = None;
            }
            if let Some(Stop { away, failure }) = stop {
                // Once for each reason: that they wait is in the status all the time.
                if away && told.replace(failure.code) != Some(failure.code) {
                    tracing::warn!(?failure, pending, "journaled writes wait on");
                }
            }
            if waits {
                if !may_pass {
                    self.journal.exhausted(last);
                }
                tokio::time::sleep(draw(&*self.entropy, limits::REPLAY_PAUSE)).await;
            }
        }
    }

    /// Goes through all that waits as it begins, once.
    async fn round(&self, habits: &mut Habits) -> Round {
        let (mut round, mut held, mut after) = (Round::default(), Held::default(), 0);
        habits.patience.round += 1;
        let end = self.journal.last_number();
        while after < end {
            let page = match self.journal.page(after).await {
                Ok(page) => page,
                Err(error) => {
                    round.stop = Some(Stop::of_the_disk(error));
                    round.may_pass = true;
                    return round;
                }
            };
            let Some(last) = page.last() else { break };
            after = last.number;
            if self.page(page, habits, &mut round, &mut held).await {
                habits.pace = Pace::default();
                return round;
            }
        }
        for name in std::mem::take(&mut round.left) {
            if !held.names.contains(&name) {
                self.catch_up(&name, limits::CATCH_UP_TIME, &mut round).await;
            }
        }
        round
    }

    /// See [`Journal::bring`]. Where nothing lies, what waits is all there is, and goes in its turn.
    pub(super) async fn bring(&self, name: &Name) {
        if matches!(self.store.get_now(name).await, Ok(Some(_))) {
            // As long as storage answers, however slowly.
            self.catch_up(name, limits::STORAGE_TIME, &mut Round::default()).await;
        }
    }

    /// What is written without a pause goes on behind what waits. For a moment, its writers wait.
    async fn catch_up(&self, name: &Name, time: Duration, round: &mut Round) {
        let replayed = within(time, async {
            let turn = self.journal.turns.lock(name.clone()).await;
            let entries = self.journal.of(name).await?;
            let done = match entries.is_empty() {
                true => Vec::new(),
                false => self.chain(entries, &AtomicBool::new(false)).await.done,
            };
            Ok((turn, done))
        });
        match replayed.await {
            Some(Ok((_turn, done))) => self.done(done, round).await,
            Some(Err(error)) => round.stop = Some(Stop::of_the_disk(error)),
            // However far it came, what waits is whole.
            None => {}
        }
    }

    /// What became of entries, which need not wait any more.
    async fn done(&self, done: Vec<(u64, Replayed)>, round: &mut Round) {
        for (_, became) in &done {
            round.count(*became);
            self.journal.replayed.count(*became);
        }
        let numbers: Vec<u64> = done.into_iter().map(|(number, _)| number).collect();
        self.remove(&numbers, round).await;
    }

    async fn remove(&self, numbers: &[u64], round: &mut Round) {
        if !numbers.is_empty()
            && let Err(error) = self.journal.remove(numbers).await
        {
            // On a full disk, say. They are not asked about again, and the others need not wait for that.
            self.journal.spend(numbers);
            round.stop = Some(Stop::of_the_disk(error));
        }
    }

    /// Whether storage or keys turned out to be away.
    async fn page(
        &self,
        page: Vec<Entry>,
        habits: &mut Habits,
        round: &mut Round,
        held: &mut Held,
    ) -> bool {
        let away = &AtomicBool::new(false);
        let (spent, page): (Vec<_>, Vec<_>) =
            page.into_iter().partition(|entry| self.journal.is_spent(entry.number));
        let spent: Vec<u64> = spent.iter().map(|entry| entry.number).collect();
        self.remove(&spent, round).await;
        for entry in
            page.iter().filter(|entry| !habits.patience.is_due(self.journal.digest(&entry.name)))
        {
            round.waits = true;
            held.hold(entry);
        }
        let (mut done, mut replayed) = (Vec::new(), Vec::new());
        for wave in waves(page) {
            let chains = chains(wave.into_iter().filter(|entry| !held.holds(entry)));
            for Chained { name, done: passed, stop, left } in
                self.paced(chains, &mut habits.pace, away).await
            {
                done.extend(passed);
                let Some(stop) = stop else {
                    habits.patience.names.remove(&self.journal.digest(&name));
                    replayed.push(name);
                    continue;
                };
                if !stop.away {
                    habits.patience.refused(self.journal.digest(&name));
                }
                round.may_pass |= stop.may_pass();
                // That all of them wait is said rather than that one does.
                if !round.stop.as_ref().is_some_and(|stop| stop.away) {
                    round.stop = Some(stop);
                }
                held.names.insert(name);
                held.puts.extend(left);
            }
        }
        self.done(done, round).await;
        round.left.extend(replayed.into_iter().filter(|name| self.journal.may_hold(name)));
        away.load(Ordering::Relaxed)
    }

    /// Some chains at once, and twice as many after each step that goes well.
    async fn paced(
        &self,
        chains: Vec<Vec<Entry>>,
        pace: &mut Pace,
        away: &AtomicBool,
    ) -> Vec<Chained> {
        let (mut chains, mut chained) = (chains.into_iter(), Vec::new());
        while chains.len() > 0 {
            // Once it is as fast as it may be, none waits for the slowest of a step.
            let step = if pace.is_highest() { chains.len() } else { pace.0 };
            let step: Vec<_> =
                chains.by_ref().take(step).map(|chain| self.chain(chain, away)).collect();
            chained.extend(stream::iter(step).buffered(pace.0).collect::<Vec<_>>().await);
            *pace = pace.faster();
        }
        chained
    }

    /// Entries of one name, in order, up to the first that has to wait on.
    async fn chain(&self, chain: Vec<Entry>, away: &AtomicBool) -> Chained {
        let name = chain[0].name.clone();
        let mut chained = Chained { name, done: Vec::new(), stop: None, left: Vec::new() };
        let puts: Vec<_> = chain.iter().map(Entry::put).collect();
        for run in runs(chain) {
            if away.load(Ordering::Relaxed) {
                let error = StoreError::Unavailable("it did not answer another".into());
                chained.stop = Some(error.into());
                break;
            }
            match self.replay(&run).await {
                Ok(became) => {
                    let passed = run.before.iter().map(|(number, _)| (*number, Replayed::Merged));
                    chained.done.extend(passed);
                    chained.done.push((run.entry.number, became));
                }
                Err(stop) => {
                    away.fetch_or(stop.away, Ordering::Relaxed);
                    if !stop.away {
                        self.refused(&run.entry, &stop.failure);
                    }
                    chained.stop = Some(stop);
                    break;
                }
            }
        }
        chained.left = puts.into_iter().skip(chained.done.len()).flatten().collect();
        chained
    }

    /// Names what waits for a reason of its own, once for each reason.
    fn refused(&self, entry: &Entry, failure: &Failure) {
        self.journal.replayed.count(Replayed::Refused);
        let (number, kind, code) = (entry.number, entry.kind(), failure.code);
        if self.journal.refuse(number, Refused { kind, code }) {
            tracing::warn!(
                number,
                kind,
                ?failure,
                "a journaled write is refused and waits, and nothing else waits for it; where that cannot be mended, `lunasec journal set-aside` takes it out"
            );
        }
    }

    async fn replay(&self, run: &Run) -> Result<Replayed, Stop> {
        let Entry { name, bytes, base, .. } = &run.entry;
        // Mostly nothing has changed since.
        let written = match base {
            Base::Nothing => self.store.put_new(name, bytes.clone()).await,
            Base::Version(version) => self.store.put_if(name, bytes.clone(), version).await,
            Base::Put(_) | Base::Unknown => Err(StoreError::Precondition),
        };
        match written {
            Ok(_) => return Ok(Replayed::Written),
            Err(StoreError::Precondition) => {}
            Err(error) => return Err(error.into()),
        }
        for _ in 0..limits::WRITE_ATTEMPTS {
            let there = self.store.get_now(name).await?;
            let (bytes, became) = match self.decide(run, there.as_ref()).await? {
                Decision::Write(bytes, became) => (bytes, became),
                Decision::Leave(replayed) => return Ok(replayed),
            };
            let written = match there {
                Some(object) => self.store.put_if(name, bytes, &object.version).await,
                None => self.store.put_new(name, bytes).await,
            };
            match written {
                Ok(_) => return Ok(became),
                Err(StoreError::Precondition) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::Precondition.into())
    }

    async fn decide(&self, run: &Run, there: Option<&Object>) -> Result<Decision, Stop> {
        let entry = &run.entry;
        if entry.name.is_session() {
            return self.merge(run, there).await;
        }
        let ours = Header::parse(&entry.bytes).map_err(Failure::corrupted)?;
        let write = || Decision::Write(entry.bytes.clone(), Replayed::Written);
        let Some(there) = there else {
            // What it was made from is gone for good: a sweep has removed it.
            let gone = matches!(entry.base, Base::Version(_) | Base::Put(_)) && !ours.tombstone;
            return Ok(if gone { Decision::Leave(Replayed::Superseded) } else { write() });
        };
        let there = match Header::parse(&there.bytes) {
            Ok(there) => there,
            // A newer sidecar's: only what takes something away is surely right.
            Err(error @ Malformed::Unknown(_)) if !ours.tombstone => {
                return Err(Failure::corrupted(error).into());
            }
            // What does not open is no reason to lose what was acknowledged.
            Err(_) => return Ok(write()),
        };
        if run.is_made_on(there.put_id) {
            return Ok(write());
        }
        Ok(match replay::judge(&ours, &there) {
            Verdict::Done => Decision::Leave(Replayed::Present),
            Verdict::Write => write(),
            Verdict::Superseded => Decision::Leave(Replayed::Superseded),
        })
    }

    /// Of two states of a session, what both say.
    async fn merge(&self, run: &Run, there: Option<&Object>) -> Result<Decision, Stop> {
        let entry = &run.entry;
        let write = || Decision::Write(entry.bytes.clone(), Replayed::Written);
        let Some(there) = there else { return Ok(write()) };
        // It knows of all that this knows of.
        if SessionState::peek_put(&there.bytes).is_some_and(|put| run.is_made_on(put)) {
            return Ok(write());
        }
        let malformed = || Failure::corrupted("the journal holds a name that is no session's");
        let namespace = entry.name.namespace().ok_or_else(malformed)?;
        let tag = Locator::parse(entry.name.last_part()).ok_or_else(malformed)?;
        let tag = SessionTag(tag.0);
        let index = self.keyring.index(&namespace).await.map_err(Failure::from)?;
        let open = |bytes: &[u8]| SessionState::open(&index, &namespace, &tag, bytes);
        let ours = open(&entry.bytes).map_err(Failure::corrupted)?;
        let theirs = match open(&there.bytes) {
            Ok(theirs) => theirs,
            // A newer sidecar's: it may say what was taken back.
            Err(error) if SessionState::is_newer(&there.bytes) => {
                return Err(Failure::corrupted(error).into());
            }
            // What does not open takes no grant back and gives none.
            Err(_) => return Ok(write()),
        };
        let merged = ours.merge(&theirs);
        if merged == theirs {
            return Ok(Decision::Leave(Replayed::Present));
        }
        let bytes = merged.seal(&index, &namespace, &tag).into();
        Ok(Decision::Write(bytes, Replayed::Merged))
    }
}

/// Entries of one name, each made from the one before: the last says it all, and is what is written.
struct Run {
    /// Those before it, with their puts.
    before: Vec<(u64, PutId)>,
    /// The last, on what the first was made from.
    entry: Entry,
}

impl Run {
    /// Whether this was made from that.
    fn follows(&self, last: &Self) -> bool {
        last.entry.put().is_some_and(|put| self.entry.base == Base::Put(put))
    }

    /// Whether it was made from what lies there: what its first was made from, or one of those before its last, which a
    /// replay that was cut short has brought there.
    fn is_made_on(&self, there: PutId) -> bool {
        self.entry.base == Base::Put(there) || self.before.iter().any(|(_, put)| *put == there)
    }

    /// Takes the place of a run that it follows.
    fn absorb(self, last: Self) -> Self {
        let Self { mut before, entry: passed } = last;
        before.extend(passed.put().map(|put| (passed.number, put)));
        before.extend(self.before);
        Self { before, entry: Entry { base: passed.base, ..self.entry } }
    }
}

/// Entries of one name, in order. What takes something back has to meet what lies there by itself, and goes before what was
/// written upon it; of several such, the last takes back what those before it did. Of a session, each says all that was so
/// before.
fn runs(chain: Vec<Entry>) -> Vec<Run> {
    let takes_back = |run: &Run| header(&run.entry).is_some_and(|header| header.tombstone);
    let mut runs: Vec<Run> = Vec::new();
    for entry in chain {
        let mut run = Run { before: Vec::new(), entry };
        while let Some(last) =
            runs.pop_if(|last| run.follows(last) && (takes_back(&run) || !takes_back(last)))
        {
            run = run.absorb(last);
        }
        runs.push(run);
    }
    runs
}

/// In two waves, one after the other: metadata, then everything else.
fn waves(entries: Vec<Entry>) -> [Vec<Entry>; 2] {
    let is_metadata =
        |entry: &Entry| header(entry).is_some_and(|header| header.kind == Kind::Metadata);
    let (metadata, others) = entries.into_iter().partition(is_metadata);
    [metadata, others]
}

/// The entries of each name, in the order of the first of each.
fn chains(entries: impl Iterator<Item = Entry>) -> Vec<Vec<Entry>> {
    let mut chains: Vec<Vec<Entry>> = Vec::new();
    let mut places = HashMap::new();
    for entry in entries {
        let place = *places.entry(entry.name.clone()).or_insert(chains.len());
        match chains.get_mut(place) {
            Some(chain) => chain.push(entry),
            None => chains.push(vec![entry]),
        }
    }
    chains
}

#[cfg(test)]
mod tests {
    use lunasec_core::{ids::Namespace, record::HEADER_LEN};

    use super::*;

    /// As headers say it.
    const VALUE: u8 = 1;
    const METADATA: u8 = 2;
    const GRANT: u8 = 3;

    fn entry(number: u64, kind: u8, locator: u8) -> Entry {
        let mut bytes = vec![0; HEADER_LEN];
        bytes[..4].copy_from_slice(&[1, kind, 1, 0]);
        let namespace = Namespace::parse("default").unwrap();
        let name = Name::record(&namespace, &Locator([locator; Locator::LEN]));
        Entry { number, at: 1, name, base: Base::Nothing, bytes: bytes.into() }
    }

    #[test]
    fn metadata_goes_before_all_values_and_each_name_in_its_order() {
        let page = [
            entry(1, VALUE, 1),
            entry(2, METADATA, 2),
            entry(3, GRANT, 3),
            entry(4, METADATA, 4),
            entry(5, VALUE, 1),
            entry(6, METADATA, 2),
        ];
        let numbers = |chain: Vec<Entry>| chain.iter().map(|it| it.number).collect::<Vec<_>>();
        let chained =
            |wave: Vec<Entry>| chains(wave.into_iter()).into_iter().map(numbers).collect();
        let waves: [Vec<_>; 2] = waves(page.into()).map(chained);
        assert_eq!(waves, [vec![vec![2, 6], vec![4]], vec![vec![1, 5], vec![3]]]);
    }
}
