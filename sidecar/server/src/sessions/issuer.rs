//! One issuer, and its keys, which are read now and then on the side.
//!
//! The keys are read at the start and every five minutes; a request whose key is among them does not wait for
//! that. When they cannot be read, the last good ones count for a day, and then none do: an issuer that
//! took a key back must not be ignored for ever. An empty set takes all of them back. A JWT whose
//! key is unknown makes them be read at once, but not within ten seconds of the last time, whatever came
//! of it, and few wait for it at once: unknown names are free to make up.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lunasec_api::Code;
use lunasec_core::limits;
use tokio::{
    sync::{Notify, Semaphore, watch},
    task::AbortHandle,
    time::{Instant, sleep, sleep_until},
};

use super::{keys::KeySet, source::Source};
use crate::{
    config,
    failure::Failure,
    telemetry::{Dependency, Request},
};

#[cfg(test)]
mod tests;

const READ: Request = Request::read("read");

/// See the module.
pub struct Issuer {
    settings: config::Issuer,
    keys: Arc<Reading>,
}

/// Reads for as long as somebody has it.
struct Reading {
    reader: Arc<Reader>,
    task: AbortHandle,
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Keys, and which of the sets that were read they are.
#[derive(Clone)]
pub(super) struct Held {
    pub(super) keys: Arc<KeySet>,
    pub(super) revision: u64,
    read: Instant,
}

/// How far the reading is.
#[derive(Clone, Copy, Default)]
struct Progress {
    /// Readings that have ended.
    ended: u64,
    /// When the last one did, unless another is under way.
    idle_since: Option<Instant>,
}

struct Reader {
    source: Box<dyn Source>,
    dependency: Arc<Dependency>,
    held: Mutex<Option<Held>>,
    wanted: Notify,
    progress: watch::Sender<Progress>,
    /// Requests that may wait for a reading at once: each has a place that others need.
    waiting: Semaphore,
}

impl Issuer {
    /// Begins to read its keys.
    pub fn new(
        settings: config::Issuer,
        source: Box<dyn Source>,
        dependency: Arc<Dependency>,
    ) -> Self {
        let reader = Arc::new(Reader {
            source,
            dependency,
            held: Mutex::default(),
            wanted: Notify::new(),
            progress: watch::Sender::default(),
            waiting: Semaphore::new(limits::JWKS_WAITING),
        });
        let task = tokio::spawn(Arc::clone(&reader).run()).abort_handle();
        Self { settings, keys: Arc::new(Reading { reader, task }) }
    }

    /// The same with other settings, and the keys that it has, if those are to be read at the same place.
    pub(super) fn with(&self, settings: &config::Issuer) -> Option<Self> {
        let same = settings.issuer == self.settings.issuer && settings.jwks == self.settings.jwks;
        same.then(|| Self { settings: settings.clone(), keys: Arc::clone(&self.keys) })
    }

    /// As configured.
    pub fn settings(&self) -> &config::Issuer {
        &self.settings
    }

    /// How reading its keys goes.
    pub fn dependency(&self) -> &Arc<Dependency> {
        &self.reader().dependency
    }

    /// How many keys it has now.
    pub fn key_count(&self) -> usize {
        self.held().map_or(0, |held| held.keys.count())
    }

    /// Has its keys read again soon.
    pub(super) fn refresh(&self) {
        self.reader().wanted.notify_one();
    }

    fn reader(&self) -> &Reader {
        &self.keys.reader
    }

    /// Its keys, while they may be believed.
    pub(super) fn held(&self) -> Option<Held> {
        let held = self.reader().held().clone();
        held.filter(|held| held.read.elapsed() < limits::JWKS_AGE)
    }

    /// Its keys, read again if that may bring those that `enough` asks for.
    pub(super) async fn keys(&self, enough: impl Fn(&KeySet) -> bool) -> Result<Held, Failure> {
        if let Some(held) = self.held()
            && enough(&held.keys)
        {
            return Ok(held);
        }
        self.reader().read_again().await?;
        self.held().ok_or_else(unavailable)
    }
}

fn unavailable() -> Failure {
    Failure::new(
        Code::KeysUnavailable,
        "the keys of the JWT's issuer cannot be read (sessions.jwks); try again later",
    )
}

impl Reader {
    /// Waits for the end of a reading that is under way, or begins one; unless the last is too near.
    async fn read_again(&self) -> Result<(), Failure> {
        let mut progress = self.progress.subscribe();
        let before = *progress.borrow_and_update();
        match before.idle_since {
            Some(since) if since.elapsed() < limits::JWKS_PAUSE => return Ok(()),
            Some(_) => self.wanted.notify_one(),
            None => {}
        }
        let _waits = self.waiting.try_acquire().map_err(|_| unavailable())?;
        // Its sender is in `self`: it cannot end.
        let _ = progress.wait_for(|now| now.ended > before.ended).await;
        Ok(())
    }

    async fn run(self: Arc<Self>) {
        loop {
            let next = if self.read().await { limits::JWKS_REFRESH } else { limits::JWKS_PAUSE };
            let earliest = Instant::now() + limits::JWKS_PAUSE;
            self.progress.send_modify(|progress| {
                *progress =
                    Progress { ended: progress.ended + 1, idle_since: Some(Instant::now()) };
            });
            tokio::select! {
                () = sleep(next) => {}
                () = self.wanted.notified() => sleep_until(earliest).await,
            }
            self.progress.send_modify(|progress| progress.idle_since = None);
        }
    }

    /// Whether that brought keys.
    async fn read(&self) -> bool {
        let asked = self.dependency.begin(READ);
        match self.source.keys().await {
            Ok(keys) if keys.count() == 0 => {
                asked.failed("no_key", &keys.words());
                if keys.is_empty() {
                    self.take(keys);
                }
                false
            }
            Ok(keys) => {
                asked.answered("ok");
                self.take(keys);
                true
            }
            Err(trouble) => {
                asked.failed(trouble.result, &trouble.cause);
                false
            }
        }
    }

    /// A set that is as before stays the one that it was.
    fn take(&self, keys: KeySet) {
        let (read, mut held) = (Instant::now(), self.held());
        *held = Some(match held.take() {
            Some(before) if *before.keys == keys => Held { read, ..before },
            before => {
                let revision = before.map_or(0, |before| before.revision + 1);
                Held { keys: Arc::new(keys), revision, read }
            }
        });
    }

    fn held(&self) -> MutexGuard<'_, Option<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
