//! One request that carries the items of one or several callers, tried again as far as that helps. Each caller gets what
//! its own items came to, as soon as that is known, and none can fail another: what the sidecar refuses as a whole
//! is sent again in halves, until it is known whose fault it was.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use hyper::{Method, header::HeaderValue};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep},
};

use crate::{
    Error, ErrorKind,
    context::Context,
    engine::{Engine, key_or_new},
    limits::SEARCHES,
    operation::{Operation, Outcome, Unit},
    retry::{Repeatable, Retries, may_help},
    transport::Wanted,
    wire::{Item, Items},
};

pub(crate) type Reply<T> = Result<Vec<Outcome<T>>, Error>;

/// One caller's items of a list, and the caller who waits for what they come to.
pub(crate) struct Entry<T> {
    pub(crate) units: Vec<Unit>,
    reply: Option<oneshot::Sender<Reply<T>>>,
    until: Instant,
    trouble: Arc<Mutex<Option<Error>>>,
}

/// The caller's side of an entry.
pub(crate) struct Waiter<T> {
    pub(crate) reply: oneshot::Receiver<Reply<T>>,
    trouble: Arc<Mutex<Option<Error>>>,
}

impl<T> Waiter<T> {
    /// What went wrong so far: a better answer than that the time is over.
    pub(crate) fn trouble(&self) -> Option<Error> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl<T> Entry<T> {
    pub(crate) fn new(units: Vec<Unit>, until: Instant) -> (Self, Waiter<T>) {
        let (sender, reply) = oneshot::channel();
        let trouble = Arc::<Mutex<_>>::default();
        let waiter = Waiter { reply, trouble: Arc::clone(&trouble) };
        (Self { units, reply: Some(sender), until, trouble }, waiter)
    }

    /// Whether nobody waits any more.
    pub(crate) fn over(&self) -> bool {
        self.reply.as_ref().is_none_or(oneshot::Sender::is_closed)
    }

    fn tell(&mut self, reply: Reply<T>) {
        if let Some(sender) = self.reply.take() {
            // Whoever left wants no answer.
            let _ = sender.send(reply);
        }
    }

    async fn left(&mut self) {
        if let Some(sender) = &mut self.reply {
            sender.closed().await;
        }
    }
}

/// What all entries of a flight have in common.
pub(crate) struct Common<T> {
    pub(crate) operation: Operation<T>,
    pub(crate) context: Arc<Context>,
    pub(crate) trace: Option<HeaderValue>,
    pub(crate) attempts: u32,
    /// The caller asked for the batch route, also for a single item.
    pub(crate) as_batch: bool,
    pub(crate) key: Option<HeaderValue>,
    /// How many more requests may be made to find out whose fault a refusal of the whole was.
    pub(crate) searches: Arc<AtomicUsize>,
}

impl<T> Common<T> {
    pub(crate) fn new(operation: Operation<T>, context: Arc<Context>, attempts: u32) -> Self {
        let searches = Arc::new(AtomicUsize::new(SEARCHES));
        Self { operation, context, trace: None, attempts, as_batch: false, key: None, searches }
    }

    fn again(&self) -> Self {
        Self {
            operation: self.operation.clone(),
            context: Arc::clone(&self.context),
            trace: self.trace.clone(),
            key: self.key.clone(),
            searches: Arc::clone(&self.searches),
            ..*self
        }
    }
}

/// Where one item sits: whose it is, and what it came to.
struct Seat<T> {
    entry: usize,
    unit: usize,
    outcome: Option<Outcome<T>>,
}

pub(crate) struct Flight<T> {
    engine: Arc<Engine>,
    common: Common<T>,
    entries: Vec<Entry<T>>,
    seats: Vec<Seat<T>>,
}

impl<T: Clone + Send + 'static> Flight<T> {
    pub(crate) fn new(engine: Arc<Engine>, common: Common<T>, entries: Vec<Entry<T>>) -> Self {
        let seats = entries.iter().enumerate().flat_map(|(entry, of)| {
            (0..of.units.len()).map(move |unit| Seat { entry, unit, outcome: None })
        });
        let seats = seats.collect();
        Self { engine, common, entries, seats }
    }

    /// Ends when every caller has been answered, or has left.
    pub(crate) async fn run(mut self) {
        let key = key_if(self.common.operation.keyed, &self.common.key);
        let engine = Arc::clone(&self.engine);
        let trace = self.common.trace.as_ref();
        let headers = self.common.context.headers(true, key.as_ref(), trace);
        let mut retries = Retries::new(&engine.retry, self.common.attempts, Repeatable::Always);
        loop {
            let sent = self.to_send();
            let (uri, body, batch) = self.request(&sent);
            let wanted = Wanted { method: Method::POST, uri, headers: headers.clone(), body };
            let asked = tokio::select! {
                asked = ask(&engine, wanted, batch) => asked,
                () = everyone_left(&mut self.entries) => return,
            };
            let error = match asked.and_then(|asked| self.take(&sent, asked)) {
                Ok(()) => match self.settle() {
                    None => return retries.succeeded(),
                    Some(error) => error,
                },
                Err(error) => error,
            };
            let Some(pause) = retries.pause(&error, self.until()) else {
                return self.failed(&error);
            };
            for entry in &self.entries {
                *entry.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.clone());
            }
            tokio::select! {
                () = sleep(pause) => {}
                () = everyone_left(&mut self.entries) => return,
            }
        }
    }

    fn until(&self) -> Instant {
        let waiting = self.entries.iter().filter(|entry| !entry.over());
        waiting.map(|entry| entry.until).max().unwrap_or_else(Instant::now)
    }

    fn unit(&self, seat: usize) -> &Unit {
        let Seat { entry, unit, .. } = self.seats[seat];
        &self.entries[entry].units[unit]
    }

    /// The seats of each item that is sent: all items where one is known by its place, else those that came to nothing
    /// yet. A token that several callers asked for is asked for once.
    fn to_send(&self) -> Vec<Vec<usize>> {
        let keyed = self.common.operation.keyed;
        let mut sent: Vec<Vec<usize>> = Vec::with_capacity(self.seats.len());
        let mut first: HashMap<&str, usize> = HashMap::new();
        for (index, seat) in self.seats.iter().enumerate() {
            if !keyed && (self.entries[seat.entry].over() || is_final(&seat.outcome)) {
                continue;
            }
            if self.shares(seat.entry) {
                let json = self.unit(index).json.as_str();
                if let Some(&at) = first.get(json) {
                    sent[at].push(index);
                    continue;
                }
                first.insert(json, sent.len());
            }
            sent.push(vec![index]);
        }
        sent
    }

    /// Whether the one item of a caller is asked for once, however many ask for it. A list is sent as it was given.
    fn shares(&self, entry: usize) -> bool {
        let Common { operation, as_batch, .. } = &self.common;
        self.entries.len() > 1
            && !operation.keyed
            && !as_batch
            && self.entries[entry].units.len() == 1
    }

    /// Where it goes, its body, and whether it is a batch.
    fn request(&self, sent: &[Vec<usize>]) -> (&'static str, Bytes, bool) {
        let Common { operation, as_batch, .. } = &self.common;
        // Of a request that is sent again, what is left may be one item: it stays a batch.
        let single = !as_batch && sent.len() == 1 && sent[0].len() == self.seats.len();
        let alone = single.then(|| operation.alone(self.unit(sent[0][0]))).flatten();
        if let Some((uri, body)) = alone {
            return (uri, body, false);
        }
        let units: Vec<&Unit> = sent.iter().map(|seats| self.unit(seats[0])).collect();
        (operation.batch_uri, operation.batch_body(&units), true)
    }

    /// Notes what each item came to.
    fn take(&mut self, sent: &[Vec<usize>], asked: Asked) -> Result<(), Error> {
        let units: Vec<&Unit> = sent.iter().map(|seats| self.unit(seats[0])).collect();
        let operation = &self.common.operation;
        let outcomes = match (asked, units.first()) {
            (Asked::Batch(said), _) => operation.read_batch(said, &units)?,
            (Asked::Alone(said), Some(unit)) => vec![Ok(operation.read_alone(*said, unit)?)],
            (Asked::Alone(_), None) => Vec::new(),
        };
        for (seats, outcome) in sent.iter().zip(outcomes) {
            for &seat in seats {
                let seat = &mut self.seats[seat];
                if !is_final(&seat.outcome) {
                    seat.outcome = Some(outcome.clone());
                }
            }
        }
        Ok(())
    }

    /// Answers whoever can be answered; gives what is wrong with the others.
    fn settle(&mut self) -> Option<Error> {
        let (mut trouble, mut crowded) = (None, Vec::new());
        for (index, outcomes) in self.by_entry() {
            let open = outcomes.iter().find_map(|&seat| open_error(&self.seats[seat].outcome));
            if let Some(error) = open {
                trouble.get_or_insert_with(|| error.clone());
            } else if self.is_crowded(&outcomes) {
                crowded.push(index);
            } else {
                let outcomes = self.taken(&outcomes);
                self.entries[index].tell(Ok(outcomes));
            }
        }
        self.make_room(&crowded);
        trouble
    }

    /// The seats of each caller who waits.
    fn by_entry(&self) -> Vec<(usize, Vec<usize>)> {
        let mut found: Vec<Vec<usize>> = self.entries.iter().map(|_| Vec::new()).collect();
        for (index, seat) in self.seats.iter().enumerate() {
            found[seat.entry].push(index);
        }
        let found = found.into_iter().enumerate();
        found.filter(|(entry, _)| !self.entries[*entry].over()).collect()
    }

    fn taken(&mut self, seats: &[usize]) -> Vec<Outcome<T>> {
        seats.iter().filter_map(|&seat| self.seats[seat].outcome.take()).collect()
    }

    /// Whether an item of a caller found no room only because of the items of others.
    fn is_crowded(&self, seats: &[usize]) -> bool {
        let operation = &self.common.operation;
        let outcomes = seats.iter().filter_map(|&seat| self.seats[seat].outcome.as_ref());
        self.entries.len() > 1
            && outcomes.into_iter().any(|outcome| operation.found_no_room(outcome))
    }

    /// Who found no room goes again, with fewer.
    fn make_room(&mut self, crowded: &[usize]) {
        let alone = crowded.len() == self.entries.len();
        let entries: Vec<_> = crowded.iter().map(|&index| self.leave(index)).collect();
        if alone {
            entries.into_iter().for_each(|entry| self.anew(vec![entry]));
        } else if !entries.is_empty() {
            self.anew(entries);
        }
    }

    /// The entry for another flight; nobody waits in this one any more.
    fn leave(&mut self, index: usize) -> Entry<T> {
        let entry = &mut self.entries[index];
        let units = std::mem::take(&mut entry.units);
        self.seats.retain(|seat| seat.entry != index);
        let entry = &mut self.entries[index];
        Entry {
            units,
            reply: entry.reply.take(),
            until: entry.until,
            trouble: Arc::clone(&entry.trouble),
        }
    }

    /// The last word: what items came to counts; a refusal of the whole is sought in each half.
    fn failed(mut self, error: &Error) {
        let waiting = self.by_entry();
        let known = waiting
            .iter()
            .any(|(_, seats)| seats.iter().any(|&seat| self.seats[seat].outcome.is_some()));
        if refuses_whole(error) && waiting.len() > 1 && !known && self.may_search() {
            let mut entries: Vec<_> = waiting.iter().map(|(index, _)| self.leave(*index)).collect();
            let half = entries.split_off(entries.len().div_ceil(2));
            self.anew(entries);
            return self.anew(half);
        }
        for (index, seats) in waiting {
            let outcomes = self.taken(&seats);
            let whole = outcomes.len() == self.entries[index].units.len() && !outcomes.is_empty();
            self.entries[index].tell(if whole { Ok(outcomes) } else { Err(error.clone()) });
        }
    }

    fn may_search(&self) -> bool {
        let two = |left: usize| (left > 1).then(|| left - 2);
        self.common.searches.fetch_update(Ordering::Relaxed, Ordering::Relaxed, two).is_ok()
    }

    fn anew(&self, entries: Vec<Entry<T>>) {
        let flight = Self::new(Arc::clone(&self.engine), self.common.again(), entries);
        // A future that holds itself has no size.
        let run: std::pin::Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(flight.run());
        tokio::spawn(run);
    }
}

fn key_if(keyed: bool, key: &Option<HeaderValue>) -> Option<HeaderValue> {
    if keyed { key_or_new(key.clone()) } else { key.clone() }
}

enum Asked {
    Alone(Box<crate::wire::Said<Item>>),
    Batch(crate::wire::Said<Items>),
}

async fn ask(engine: &Engine, wanted: Wanted, batch: bool) -> Result<Asked, Error> {
    if batch {
        engine.attempt(wanted).await.map(Asked::Batch)
    } else {
        engine.attempt(wanted).await.map(|said| Asked::Alone(Box::new(said)))
    }
}

/// Ends when nobody waits any more; callers who were answered do not.
async fn everyone_left<T>(entries: &mut [Entry<T>]) {
    for entry in entries {
        entry.left().await;
    }
}

fn is_final<T>(outcome: &Option<Outcome<T>>) -> bool {
    outcome.is_some() && open_error(outcome).is_none()
}

/// Why an item may be sent again.
fn open_error<T>(outcome: &Option<Outcome<T>>) -> Option<&Error> {
    outcome.as_ref().and_then(|outcome| outcome.as_ref().err()).filter(|error| may_help(error))
}

/// What one item may have brought upon all.
fn refuses_whole(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::InvalidRequest | ErrorKind::PayloadTooLarge)
}
