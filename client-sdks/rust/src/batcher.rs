//! Makes one request of calls that are made at once and say the same of themselves: operation, namespace, session, JWT,
//! purpose. A call that is alone is sent as it is.

use std::{
    collections::HashMap,
    marker::PhantomData,
    sync::{Arc, Mutex, PoisonError},
    thread::{self, ThreadId},
    time::Duration,
};

use tokio::{
    runtime::{Handle, Id},
    task::yield_now,
    time::sleep,
};

use crate::{
    Deleted, Error, Granted, Tokenized, Value, Verdict,
    context::Context,
    engine::Engine,
    flight::{Common, Entry, Flight},
    limits::BATCH_ITEMS,
    operation::Operation,
};

/// One for each operation on lists.
#[derive(Default)]
pub(crate) struct Batchers {
    pub(crate) tokenize: Batcher<Tokenized>,
    pub(crate) detokenize: Batcher<Value>,
    pub(crate) delete: Batcher<Deleted>,
    pub(crate) grant: Batcher<Granted>,
    pub(crate) verify: Batcher<Verdict>,
}

/// Whose results it gathers.
pub(crate) trait Gathered: Sized {
    fn batcher(engine: &Engine) -> &Batcher<Self>;
}

macro_rules! gathered {
    ($($result:ty = $field:ident,)+) => {$(
        impl Gathered for $result {
            fn batcher(engine: &Engine) -> &Batcher<Self> {
                &engine.batchers.$field
            }
        }
    )+};
}

gathered! {
    Tokenized = tokenize,
    Value = detokenize,
    Deleted = delete,
    Granted = grant,
    Verdict = verify,
}

/// Calls that go together.
struct Group<T> {
    /// No other group of the batcher has it.
    number: u64,
    common: Common<T>,
    entries: Vec<Entry<T>>,
    /// Who joined it from where. The first of their departures takes all along: a thread that is blocked holds its own
    /// calls only.
    threads: Vec<ThreadId>,
}

/// What they have to have in common. What one runtime has begun nobody else waits for: it may never be driven again.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    runtime: Id,
    context: Arc<Context>,
    before: Arc<str>,
    attempts: u32,
    window: Duration,
}

pub(crate) struct Batcher<T>(Mutex<Groups<T>>);

struct Groups<T> {
    waiting: HashMap<Key, Group<T>>,
    numbers: u64,
}

impl<T> Default for Batcher<T> {
    fn default() -> Self {
        Self(Mutex::new(Groups { waiting: HashMap::new(), numbers: 0 }))
    }
}

impl<T: Gathered + Clone + Send + 'static> Batcher<T> {
    /// One caller's items, together with those of others: all who call until the tasks that are ready have run, and for
    /// as long as `window` says.
    pub(crate) fn submit(
        engine: &Arc<Engine>,
        common: Common<T>,
        entry: Entry<T>,
        window: Duration,
    ) {
        let key = Key {
            runtime: Handle::current().id(),
            context: Arc::clone(&common.context),
            before: Arc::clone(&common.operation.before),
            attempts: common.attempts,
            window,
        };
        let here = thread::current().id();
        let mut groups = T::batcher(engine).0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = if let Some(group) = groups.waiting.get_mut(&key) {
            group.entries.push(entry);
            if group.threads.contains(&here) {
                return;
            }
            group.threads.push(here);
            group.number
        } else {
            groups.numbers += 1;
            let number = groups.numbers;
            let group = Group { number, common, entries: vec![entry], threads: vec![here] };
            groups.waiting.insert(key.clone(), group);
            number
        };
        drop(groups);
        let mut departure: Departure<T> =
            Departure { engine: Arc::clone(engine), key: Some(key), number, of: PhantomData };
        tokio::spawn(async move {
            if window.is_zero() {
                yield_now().await
            } else {
                sleep(window).await
            }
            if let Some(group) = departure.group() {
                depart(&departure.engine, group).await;
            }
        });
    }
}

/// When a group goes. It takes the group along also where the runtime shuts down before: whoever is in it would wait for
/// nothing.
struct Departure<T: Gathered> {
    engine: Arc<Engine>,
    /// None once it is gone: the next group of the same key is another one's.
    key: Option<Key>,
    number: u64,
    of: PhantomData<fn() -> T>,
}

impl<T: Gathered> Departure<T> {
    fn group(&mut self) -> Option<Group<T>> {
        let key = self.key.take()?;
        let batcher = T::batcher(&self.engine);
        let mut groups = batcher.0.lock().unwrap_or_else(PoisonError::into_inner);
        let same = groups.waiting.get(&key).is_some_and(|group| group.number == self.number);
        if same { groups.waiting.remove(&key) } else { None }
    }
}

impl<T: Gathered> Drop for Departure<T> {
    fn drop(&mut self) {
        self.group();
    }
}

/// Cuts a group into requests that are small enough, and ends with the last of them.
async fn depart<T: Clone + Send + 'static>(engine: &Arc<Engine>, group: Group<T>) {
    let Group { common, entries, .. } = group;
    let flight = |entries| {
        let common = Common {
            trace: common.trace.clone(),
            ..Common::new(common.operation.clone(), Arc::clone(&common.context), common.attempts)
        };
        Flight::new(Arc::clone(engine), common, entries)
    };
    let mut batches = cut(&common.operation, entries);
    let last = batches.pop();
    for entries in batches {
        tokio::spawn(flight(entries).run());
    }
    if let Some(entries) = last {
        flight(entries).run().await;
    }
}

fn cut<T>(operation: &Operation<T>, entries: Vec<Entry<T>>) -> Vec<Vec<Entry<T>>> {
    let mut batches: Vec<Vec<Entry<T>>> = Vec::new();
    let (mut items, mut bytes) = (0, 0);
    for entry in entries.into_iter().filter(|entry| !entry.over()) {
        let more: usize = entry.units.iter().map(|unit| unit.json.len() + 1).sum();
        items += entry.units.len();
        bytes += more;
        match batches.last_mut() {
            Some(batch) if items <= BATCH_ITEMS && bytes <= operation.bytes => batch.push(entry),
            _ => {
                (items, bytes) = (entry.units.len(), operation.overhead() + more);
                batches.push(vec![entry]);
            }
        }
    }
    batches
}

/// Whether a list can be a part of a batch: of one that is refused for its length, the others must not be told.
pub(crate) fn may_go_along(items: usize) -> bool {
    (1..=BATCH_ITEMS).contains(&items)
}

/// What a caller whose flight is gone is told; only a runtime that shuts down drops one.
pub(crate) fn dropped() -> Error {
    let facts = crate::error::Facts { sent: true, ..Default::default() };
    Error::unreachable("the runtime that sent this call was shut down before its answer", facts)
}
