//! Places for connections. Whoever comes gets one: if all are taken, the connection that was used least recently is
//! cut, of the same peer if that one has its share. Peers are not known and any pod can connect, so idle connections
//! must not keep out those of the API server and of the kubelet.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

/// Places.
pub struct Pool {
    /// Of all peers.
    most: usize,
    /// Of one.
    share: usize,
    seats: Mutex<Seats>,
}

#[derive(Default)]
struct Seats {
    /// Counts what happens, so that it has an order.
    events: u64,
    taken: HashMap<u64, Taken>,
}

struct Taken {
    peer: IpAddr,
    used: u64,
    cut: Arc<Notify>,
}

/// The place of one connection, which is given back with it.
pub struct Seat {
    pool: Arc<Pool>,
    id: u64,
    peer: IpAddr,
    cut: Arc<Notify>,
}

impl Pool {
    /// With so many places, and so many of them for one peer.
    pub fn new(most: usize, share: usize) -> Arc<Self> {
        Arc::new(Self { most, share, seats: Mutex::default() })
    }

    /// A place for a connection of this peer.
    pub fn enter(self: &Arc<Self>, peer: IpAddr) -> Seat {
        // An IPv4 peer of a listener for both.
        let peer = peer.to_canonical();
        let mut seats = self.seats();
        let of_peer = seats.taken.values().filter(|it| it.peer == peer).count();
        if of_peer >= self.share {
            seats.cut_one(|it| it.peer == peer);
        } else if seats.taken.len() >= self.most {
            seats.cut_one(|_| true);
        }
        let (id, cut) = (seats.event(), Arc::new(Notify::new()));
        seats.taken.insert(id, Taken { peer, used: id, cut: Arc::clone(&cut) });
        Seat { pool: Arc::clone(self), id, peer, cut }
    }

    fn seats(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seats {
    fn event(&mut self) -> u64 {
        self.events += 1;
        self.events
    }

    fn cut_one(&mut self, of: impl Fn(&Taken) -> bool) {
        let candidates = self.taken.iter().filter(|(_, it)| of(it));
        let oldest = candidates.min_by_key(|(_, it)| it.used).map(|(id, _)| *id);
        if let Some(taken) = oldest.and_then(|it| self.taken.remove(&it)) {
            taken.cut.notify_one();
        }
    }
}

impl Seat {
    /// Whose it is.
    pub fn peer(&self) -> IpAddr {
        self.peer
    }

    /// It is used.
    pub fn used(&self) {
        let mut seats = self.pool.seats();
        let now = seats.event();
        if let Some(taken) = seats.taken.get_mut(&self.id) {
            taken.used = now;
        }
    }

    /// Until another one needs the place.
    pub async fn cut(&self) {
        self.cut.notified().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.pool.seats().taken.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn is_cut(seat: &Seat) -> bool {
        seat.cut().now_or_never().is_some()
    }

    fn peer(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    #[test]
    fn who_was_used_least_recently_makes_room() {
        let pool = Pool::new(3, 3);
        let seats: Vec<_> = (1..=3).map(|it| pool.enter(peer(it))).collect();
        seats[0].used();
        let new = pool.enter(peer(4));
        assert_eq!(seats.iter().map(is_cut).collect::<Vec<_>>(), [false, true, false]);
        assert!(!is_cut(&new));
        drop(new);
        assert!(!is_cut(&pool.enter(peer(5))), "a place was given back");
        assert!(!is_cut(&seats[2]), "so nobody had to go for it");
    }

    #[test]
    fn a_peer_with_its_share_makes_room_for_itself() {
        let pool = Pool::new(3, 2);
        let other = pool.enter(peer(1));
        let seats: Vec<_> = (0..3).map(|_| pool.enter(peer(2))).collect();
        assert_eq!(seats.iter().map(is_cut).collect::<Vec<_>>(), [true, false, false]);
        assert!(!is_cut(&other), "though it is the oldest");
        let mapped = pool.enter("::ffff:10.0.0.2".parse().unwrap());
        assert!(is_cut(&seats[1]) && !is_cut(&mapped) && !is_cut(&other));
    }
}
