//! Where sessions, grants and the values they are for lie, and what they opened to (of values, their
//! headers alone): a grant that is warm costs no derivation and no decryption.
//!
//! What an object opened to counts for the very same bytes alone, and the store is asked for those each
//! time: how long a grant may be believed is decided there. Of a value, however large, those are what proves
//! its header. Entries are found by digests under a secret of this process, so that no token is in memory
//! for longer than its requests.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError, Weak,
    atomic::{AtomicU64, Ordering},
};

use lunasec_core::{
    derive::{self, SessionTag},
    envelope::Subject,
    grant::{Action, SessionState},
    ids::{Namespace, Session},
    limits,
    record::Header,
    secret::DataKey,
    token::Token,
};
use quick_cache::sync::Cache;
use sha2::{Digest, Sha256};

use super::{Held, Revoked};
use crate::{failure::Failure, rounds::Rounds, store::Name, vault::name_of};

/// What an object opened to, and the object's bytes.
pub(super) struct Opened<T>(Mutex<Option<(Box<[u8]>, T)>>);

impl<T> Default for Opened<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Copy> Opened<T> {
    /// What these bytes opened to, if they are the last that were.
    pub(super) fn recall(&self, bytes: &[u8]) -> Option<T> {
        let held = self.held();
        let (same, opened) = held.as_ref()?;
        (**same == *bytes).then_some(*opened)
    }

    /// What was opened there last, whatever lies there now.
    pub(super) fn last(&self) -> Option<T> {
        self.held().as_ref().map(|(_, opened)| *opened)
    }

    /// In the place of what was there.
    pub(super) fn learn(&self, bytes: &[u8], opened: T) {
        *self.held() = Some((bytes.into(), opened));
    }

    fn held(&self) -> MutexGuard<'_, Option<(Box<[u8]>, T)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session's place.
pub(super) struct SessionPlace {
    /// Stands for the session in the digests of its grants.
    id: u64,
    /// What its tag was derived under. It keeps the key's place from being used again, not the key.
    index: Weak<DataKey>,
    pub(super) tag: SessionTag,
    pub(super) name: Name,
    pub(super) opened: Opened<SessionState>,
    /// Of those who take all of its grants back: one write does it for all who asked before it began.
    pub(super) revoking: Rounds<Result<Revoked, Failure>>,
}

/// A record's place.
pub(super) struct Place<T> {
    pub(super) name: Name,
    pub(super) opened: Opened<T>,
}

/// A value, of which only its header is looked at.
#[derive(Clone, Copy)]
pub(super) struct Seen {
    pub(super) header: Header,
    /// Of its record.
    pub(super) bytes: usize,
}

/// See the module.
pub struct Memory {
    secret: [u8; 16],
    next_id: AtomicU64,
    sessions: Cache<[u8; 32], Arc<SessionPlace>>,
    grants: Cache<[u8; 32], Arc<Place<Held>>>,
    values: Cache<[u8; 32], Arc<Place<Seen>>>,
}

impl Memory {
    /// Knows nothing yet.
    pub fn new(secret: [u8; 16]) -> Self {
        Self {
            secret,
            next_id: AtomicU64::new(0),
            sessions: Cache::new(limits::SESSIONS_OPENED),
            grants: Cache::new(limits::GRANTS_OPENED),
            values: Cache::new(limits::GRANTS_OPENED),
        }
    }

    /// The place of a session under this index key.
    pub(super) fn session(
        &self,
        index: &Arc<DataKey>,
        namespace: &Namespace,
        session: &Session,
    ) -> Arc<SessionPlace> {
        let namespace_text = namespace.as_str().as_bytes();
        let length = [namespace_text.len() as u8];
        let digest = self.digest(&[&length, namespace_text, session.expose().as_bytes()]);
        let known = self.sessions.get(&digest);
        // The same key in another place was unwrapped anew, and may be another.
        let same = |place: &Arc<SessionPlace>| place.index.as_ptr() == Arc::as_ptr(index);
        if let Some(place) = known.filter(same) {
            return place;
        }
        let tag = derive::session_tag(index, namespace, session);
        let place = Arc::new(SessionPlace {
            id: self.next_id.fetch_add(1, Ordering::Relaxed),
            index: Arc::downgrade(index),
            tag,
            name: Name::session(namespace, &tag),
            opened: Opened::default(),
            revoking: Rounds::default(),
        });
        self.sessions.insert(digest, Arc::clone(&place));
        place
    }

    /// The place of a session's grant of this, whose subject is made where it is not known.
    pub(super) fn grant(
        &self,
        session: &SessionPlace,
        token: &Token,
        action: Action,
        subject: impl FnOnce() -> Subject,
    ) -> Arc<Place<Held>> {
        let digest = self.digest(&[&session.id.to_be_bytes(), &[action as u8], token.expose()]);
        find(&self.grants, digest, subject)
    }

    /// The place of a token's value, for those who only ask whether there is one.
    pub(super) fn value(
        &self,
        namespace: &Namespace,
        token: &Token,
        subject: impl FnOnce() -> Subject,
    ) -> Arc<Place<Seen>> {
        let digest = self.digest(&[token.expose(), namespace.as_str().as_bytes()]);
        find(&self.values, digest, subject)
    }

    /// Of fields whose lengths are fixed, or said, but for the last. It never leaves this process, so a
    /// secret before them is enough.
    fn digest(&self, fields: &[&[u8]]) -> [u8; 32] {
        let mut digest = Sha256::new_with_prefix(self.secret);
        for field in fields {
            digest.update(field);
        }
        digest.finalize().into()
    }
}

fn find<T>(
    places: &Cache<[u8; 32], Arc<Place<T>>>,
    digest: [u8; 32],
    subject: impl FnOnce() -> Subject,
) -> Arc<Place<T>> {
    if let Some(place) = places.get(&digest) {
        return place;
    }
    let subject = subject();
    let place = Arc::new(Place { name: name_of(&subject), opened: Opened::default() });
    places.insert(digest, Arc::clone(&place));
    place
}
