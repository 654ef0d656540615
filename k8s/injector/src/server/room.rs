//! Memory for bodies that are being read. A peer may have as much as is left for the others: whoever sends many large
//! ones slowly fills its own part, and the API server's reviews find room.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Bytes, and who has them.
pub(super) struct Room {
    most: usize,
    held: Mutex<HashMap<IpAddr, usize>>,
}

/// A part of it, which is given back with this.
pub(super) struct Part {
    room: Arc<Room>,
    peer: IpAddr,
    bytes: usize,
}

impl Room {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, held: Mutex::default() })
    }

    /// Nothing yet, for a body of this peer.
    pub(super) fn part(self: &Arc<Self>, peer: IpAddr) -> Part {
        Part { room: Arc::clone(self), peer: peer.to_canonical(), bytes: 0 }
    }

    fn held(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Part {
    /// So much more; says whether there is room for it.
    pub(super) fn grow(&mut self, bytes: usize) -> bool {
        let mut held = self.room.held();
        let all: usize = held.values().sum();
        let own = held.entry(self.peer).or_default();
        let fits = *own + bytes <= self.room.most.saturating_sub(all);
        if fits {
            *own += bytes;
            self.bytes += bytes;
        }
        if *own == 0 {
            held.remove(&self.peer);
        }
        fits
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let mut held = self.room.held();
        if let Some(own) = held.get_mut(&self.peer) {
            *own -= self.bytes;
            if *own == 0 {
                held.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_has_as_much_as_is_left_for_the_others() {
        let peer = |last: u8| IpAddr::from([10, 0, 0, last]);
        let room = Room::new(1000);
        let mut first: Vec<_> = (0..10).map(|_| room.part(peer(1))).collect();
        let grown = first.iter_mut().filter_map(|it| it.grow(100).then_some(())).count();
        assert_eq!(grown, 5);
        let mut other = room.part(peer(2));
        assert!(other.grow(250) && !other.grow(1), "half of what is left");
        let mut third = room.part("::ffff:10.0.0.1".parse().unwrap());
        assert!(!third.grow(1), "the first one by another name");
        drop((first, other));
        assert!(third.grow(500) && !third.grow(1));
        drop(third);
        assert!(room.held().is_empty());
    }
}
