//! Whose review is decided next. One at a time, and of each peer one waits: however many one peer sends, the next of
//! another comes after one of its own.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub(super) struct Turns {
    all: Arc<Semaphore>,
    peers: Mutex<HashMap<IpAddr, Weak<Semaphore>>>,
}

/// Ends when it is dropped.
pub(super) struct Turn {
    _all: OwnedSemaphorePermit,
    _peer: OwnedSemaphorePermit,
}

impl Turns {
    pub(super) fn new() -> Self {
        Self { all: Arc::new(Semaphore::new(1)), peers: Mutex::default() }
    }

    /// The peer's next turn. Both queues are in order; none where they were closed, which nobody does.
    pub(super) async fn next(&self, peer: IpAddr) -> Option<Turn> {
        let own = self.of(peer.to_canonical()).acquire_owned().await.ok()?;
        let all = Arc::clone(&self.all).acquire_owned().await.ok()?;
        Some(Turn { _all: all, _peer: own })
    }

    fn of(&self, peer: IpAddr) -> Arc<Semaphore> {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = peers.get(&peer).and_then(Weak::upgrade) {
            return own;
        }
        peers.retain(|_, own| own.strong_count() > 0);
        let own = Arc::new(Semaphore::new(1));
        peers.insert(peer, Arc::downgrade(&own));
        own
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn the_next_of_another_peer_comes_after_one() {
        let turns = Turns::new();
        let (many, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let under_way = turns.next(many).await;
        let mut waiting: Vec<_> = (0..100).map(|_| Box::pin(turns.next(many))).collect();
        assert!(waiting.iter_mut().all(|it| it.now_or_never().is_none()));
        let mut others = Box::pin(turns.next(other));
        assert!((&mut others).now_or_never().is_none());
        drop(under_way);
        assert!(waiting[0].as_mut().now_or_never().is_none(), "the other one was before it");
        let others = others.now_or_never().flatten();
        assert!(others.is_some());
        drop(others);
        assert!(waiting[0].as_mut().now_or_never().flatten().is_some());
    }

    #[tokio::test]
    async fn who_is_gone_is_forgotten() {
        let turns = Turns::new();
        for last in 0..50 {
            drop(turns.next([10, 0, 1, last].into()).await);
        }
        assert!(turns.peers.lock().unwrap().len() <= 1);
    }
}
