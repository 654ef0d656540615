//! Work that counts for all who asked before it began: whoever comes while a round is at work shares the next one,
//! so that however many ask, nobody waits for more than two.

use std::{
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// One round at a time.
pub struct Rounds<T> {
    /// What has not begun and has somebody who waits for it.
    next: Mutex<Option<Arc<Round<T>>>>,
    /// Held by the round that is at work.
    turn: tokio::sync::Mutex<()>,
}

/// What came of a round. Held by whoever leads it; should he go away, the next who waits leads it anew.
type Round<T> = tokio::sync::Mutex<Option<T>>;

impl<T> Default for Rounds<T> {
    fn default() -> Self {
        Self { next: Mutex::default(), turn: tokio::sync::Mutex::default() }
    }
}

impl<T: Clone> Rounds<T> {
    /// What came of a round that began after this was called. The work of one caller is done for all of its round.
    pub async fn share(&self, work: impl Future<Output = T>) -> T {
        let round = Arc::clone(self.next().get_or_insert_default());
        let mut outcome = round.lock().await;
        if let Some(outcome) = &*outcome {
            return outcome.clone();
        }
        let _turn = self.turn.lock().await;
        self.begin(&round);
        let done = work.await;
        *outcome = Some(done.clone());
        done
    }

    /// Whoever comes from now on is of another round. Of one that is led anew, they are already.
    fn begin(&self, round: &Arc<Round<T>>) {
        self.next().take_if(|next| Arc::ptr_eq(next, round));
    }

    fn next(&self) -> MutexGuard<'_, Option<Arc<Round<T>>>> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::ready,
        pin::Pin,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use futures_util::FutureExt;
    use tokio::sync::Semaphore;

    use super::*;

    /// Counts what begins, and lets it end when told to.
    struct Work {
        rounds: Rounds<usize>,
        begun: AtomicUsize,
        may_end: Semaphore,
    }

    type Sharing<'a> = Pin<Box<dyn Future<Output = usize> + 'a>>;

    impl Work {
        fn new() -> Self {
            let begun = AtomicUsize::new(0);
            Self { rounds: Rounds::default(), begun, may_end: Semaphore::new(0) }
        }

        /// Somebody who has come, and waits.
        fn comes(&self) -> Sharing<'_> {
            let work = async {
                let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
                self.may_end.acquire().await.unwrap().forget();
                number
            };
            let mut sharing = Box::pin(self.rounds.share(work));
            assert_eq!((&mut sharing).now_or_never(), None);
            sharing
        }

        fn begun(&self) -> usize {
            self.begun.load(Ordering::SeqCst)
        }
    }

    #[tokio::test]
    async fn all_who_come_while_one_is_at_work_share_the_next() {
        let work = Work::new();
        let first = work.comes();
        let second: Vec<_> = (0..59).map(|_| work.comes()).collect();
        assert_eq!(work.begun(), 1);
        work.may_end.add_permits(2);
        assert_eq!(first.await, 1);
        assert_eq!(futures_util::future::join_all(second).await, [2; 59]);
        assert_eq!(work.begun(), 2);
        assert!(work.rounds.next().is_none(), "nothing is kept");
        assert_eq!(work.rounds.share(ready(7)).await, 7, "nobody is given what is over");
    }

    #[tokio::test]
    async fn what_began_before_somebody_came_does_not_count_for_him() {
        let work = Work::new();
        let first = work.comes();
        let mut second = work.comes();
        work.may_end.add_permits(1);
        assert_eq!(first.await, 1);
        assert_eq!((&mut second).now_or_never(), None);
        assert_eq!(work.begun(), 2);
        let third = work.comes();
        work.may_end.add_permits(2);
        assert_eq!((second.await, third.await), (2, 3));
    }

    #[tokio::test]
    async fn whoever_leads_may_go_away() {
        let work = Work::new();
        let [first, second, third] = [(); 3].map(|()| work.comes());
        let fourth = work.comes();
        // At work, and then while waiting to begin.
        drop(first);
        drop(second);
        work.may_end.add_permits(1);
        assert_eq!(futures_util::future::join(third, fourth).await, (2, 2));
        // The only one of its round.
        let fifth = work.comes();
        let sixth = work.comes();
        drop(sixth);
        work.may_end.add_permits(2);
        assert_eq!(fifth.await, 3);
        assert_eq!(work.comes_at_once().await, 4);
    }

    #[tokio::test]
    async fn a_round_that_is_led_anew_takes_nobody_in_who_came_since() {
        let work = Work::new();
        let first = work.comes();
        let [mut second, mut third] = [(); 2].map(|()| work.comes());
        work.may_end.add_permits(1);
        first.await;
        assert_eq!((&mut second).now_or_never(), None);
        assert_eq!(work.begun(), 2);
        let fourth = work.comes();
        drop(second);
        assert_eq!((&mut third).now_or_never(), None);
        work.may_end.add_permits(2);
        let (third, fourth) = futures_util::future::join(third, fourth).await;
        assert_ne!(third, fourth);
    }

    impl Work {
        fn comes_at_once(&self) -> impl Future<Output = usize> {
            self.rounds.share(async { self.begun.fetch_add(1, Ordering::SeqCst) + 1 })
        }
    }
}
