//! The calls under way in a process: so many, and no more. One session has half of them at most, so that what one user
//! has an application ask leaves room for the others.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use hyper::header::HeaderValue;

use crate::{Error, ErrorKind, error::Facts};

pub(crate) struct Places {
    most: usize,
    taken: AtomicUsize,
    sessions: Mutex<HashMap<HeaderValue, usize>>,
}

/// A place for one caller to wait, until it is dropped.
pub(crate) struct Place {
    places: Arc<Places>,
    session: Option<HeaderValue>,
}

impl Places {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, taken: AtomicUsize::new(0), sessions: Mutex::default() })
    }

    /// Refused where too many wait.
    pub(crate) fn take(self: &Arc<Self>, session: Option<&HeaderValue>) -> Result<Place, Error> {
        let one_more = |taken| (taken < self.most).then_some(taken + 1);
        let taken = self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        taken.map_err(|taken| too_many(&format!("{taken} calls are under way in this process")))?;
        // From here on, dropping it gives back what was taken.
        let mut place = Place { places: Arc::clone(self), session: None };
        if let Some(session) = session {
            let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
            let held = sessions.get(session).copied().unwrap_or(0);
            if held >= (self.most / 2).max(1) {
                drop(sessions);
                return Err(too_many(&format!("{held} calls of one session are under way")));
            }
            sessions.insert(session.clone(), held + 1);
            drop(sessions);
            place.session = Some(session.clone());
        }
        Ok(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.taken.fetch_sub(1, Ordering::Relaxed);
        let Some(session) = &self.session else { return };
        let mut sessions = self.places.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        match sessions.get_mut(session) {
            Some(held) if *held > 1 => *held -= 1,
            _ => drop(sessions.remove(session)),
        }
    }
}

fn too_many(what: &str) -> Error {
    let detail =
        format!("{what}, which is all that may be: make fewer at once, or raise pending_calls");
    Error::new(ErrorKind::Overloaded, detail, Facts { retryable: true, ..Facts::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_so_many_places_and_they_come_back() {
        let places = Places::new(4);
        let held: Vec<_> = (0..4).map(|_| places.take(None).unwrap()).collect();
        let error = places.take(None).err().unwrap();
        assert_eq!((error.kind(), error.retryable()), (ErrorKind::Overloaded, true));
        drop(held);
        assert!(places.take(None).is_ok());
    }

    #[test]
    fn one_session_leaves_half_to_the_others() {
        let places = Places::new(4);
        let (alice, bob) = (HeaderValue::from_static("alice"), HeaderValue::from_static("bob"));
        let held: Vec<_> = (0..2).map(|_| places.take(Some(&alice)).unwrap()).collect();
        assert!(places.take(Some(&alice)).is_err());
        assert!(places.take(Some(&bob)).is_ok());
        drop(held);
        assert!(places.take(Some(&alice)).is_ok());
        assert!(places.sessions.lock().unwrap().is_empty());
        assert_eq!(places.taken.load(Ordering::Relaxed), 0);
    }
}
