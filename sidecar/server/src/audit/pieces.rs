//! Records on their way to the spool's thread, and what became of them on its way back.
//!
//! Waking a thread costs about as much as a record does. So whatever the runtime does in one turn is gathered, and handed
//! over at its end; and whoever waits is told on the runtime, by one message for all: woken one by one from another thread,
//! each would be a system call.

use std::{collections::VecDeque, mem, sync::Arc, time::Duration};

use lunasec_core::limits;
use tokio::{
    sync::{SetOnce, mpsc},
    task::yield_now,
    time::sleep,
};

use super::{Records, spool::Spool};

pub(super) type Written = Result<(), Arc<str>>;

/// What becomes of the records of a piece.
#[derive(Default)]
pub(super) struct Fate {
    written: SetOnce<Written>,
    synced: SetOnce<Written>,
}

impl Fate {
    /// Waits until it is known.
    pub(super) async fn known(&self, synced: bool) -> Written {
        let stage = if synced { &self.synced } else { &self.written };
        stage.wait().await.clone()
    }

    /// What is known already stays. Whoever waited may have given up.
    fn tell(&self, synced: bool, result: &Written) {
        if !synced || result.is_err() {
            let _ = self.written.set(result.clone());
        }
        if synced || result.is_err() {
            let _ = self.synced.set(result.clone());
        }
    }
}

/// Records that are written at once, and taken back together where that fails.
#[derive(Default)]
pub(super) struct Piece {
    /// Each with whether somebody waits for it.
    pub(super) records: Vec<(Records, bool)>,
    /// How many items they have.
    pub(super) items: usize,
    /// Whether somebody waits for the sync.
    pub(super) durable: bool,
    pub(super) fate: Arc<Fate>,
}

impl Piece {
    fn waited(&self) -> Option<Waited> {
        let any = self.records.iter().any(|(_, waits)| *waits);
        any.then(|| Waited { fate: Arc::clone(&self.fate), durable: self.durable })
    }

    /// Whether so many more may go with it.
    pub(super) fn has_room(&self, items: usize) -> bool {
        self.items == 0 || self.items + items <= limits::AUDIT_PIECE
    }

    fn add(&mut self, records: Records, waits: Option<bool>) {
        self.items += records.items.len();
        self.durable |= waits == Some(true);
        self.records.push((records, waits.is_some()));
    }

    /// Of what could not be written: what nobody waits for.
    pub(super) fn left(mut self) -> Self {
        self.records.retain(|(_, waits)| !waits);
        let items = self.records.iter().map(|(records, _)| records.items.len()).sum();
        Self { records: self.records, items, ..Self::default() }
    }
}

/// A piece that somebody waits for.
pub(super) struct Waited {
    fate: Arc<Fate>,
    durable: bool,
}

impl Waited {
    fn is_over(&self) -> bool {
        let last = if self.durable { &self.fate.synced } else { &self.fate.written };
        last.initialized()
    }
}

/// What the thread says of pieces.
pub(super) enum Told {
    /// They are written. Their memory goes back to where it came from, which is cheaper.
    Written(Vec<Piece>),
    /// They are synced.
    Synced(Vec<Arc<Fate>>),
    /// They are not.
    Failed(Vec<Arc<Fate>>, Arc<str>),
}

impl Told {
    fn tell(self) {
        match self {
            Self::Written(pieces) => pieces.iter().for_each(|it| it.fate.tell(false, &Ok(()))),
            Self::Synced(fates) => fates.iter().for_each(|it| it.tell(true, &Ok(()))),
            Self::Failed(fates, why) => {
                fates.iter().for_each(|it| it.tell(true, &Err(Arc::clone(&why))))
            }
        }
    }
}

/// What waits for the thread.
#[derive(Default)]
pub(super) struct Queue {
    /// Since the last turn of the runtime.
    gathered: Vec<Piece>,
    handed: Vec<Piece>,
    /// How many items they have, all.
    items: usize,
    pub(super) dropped: u64,
    pub(super) trouble: Option<Arc<str>>,
    /// Whether the thread waits to be woken.
    pub(super) sleeps: bool,
    pub(super) ended: bool,
}

impl Queue {
    /// Gathers records: what becomes of them, and whether they are the first of a turn. None where there is no room.
    pub(super) fn gather(
        &mut self,
        records: Records,
        waits: Option<bool>,
    ) -> Option<(Arc<Fate>, bool)> {
        let items = records.items.len();
        if self.items > 0 && self.items + items > limits::AUDIT_QUEUE {
            // Whoever waits is told.
            if waits.is_none() {
                self.dropped += items as u64;
            }
            return None;
        }
        self.items += items;
        let first = self.gathered.is_empty();
        if self.gathered.last().is_none_or(|piece| !piece.has_room(items)) {
            self.gathered.push(Piece::default());
        }
        let piece = self.gathered.last_mut()?;
        piece.add(records, waits);
        Some((Arc::clone(&piece.fate), first))
    }

    /// Hands over what is gathered: what becomes of it, where somebody waits for that, and whether the thread is to be woken.
    pub(super) fn hand_over(&mut self) -> (Vec<Waited>, bool) {
        let waited_for = self.gathered.iter().filter_map(Piece::waited).collect();
        self.handed.append(&mut self.gathered);
        (waited_for, mem::take(&mut self.sleeps))
    }

    pub(super) fn is_idle(&self) -> bool {
        self.handed.is_empty() && !self.ended
    }

    /// What is handed over, behind what was kept.
    pub(super) fn take(&mut self, kept: &mut Vec<Piece>) -> Vec<Piece> {
        if self.ended {
            self.handed.append(&mut self.gathered);
        }
        self.items = self.gathered.iter().map(|piece| piece.items).sum();
        let mut pieces = mem::take(kept);
        pieces.append(&mut self.handed);
        pieces
    }

    pub(super) fn items(&self) -> usize {
        self.items
    }
}

/// Hands over at the end of each turn, and tells whoever waits: what became of his records, or that nothing has for long.
pub(super) async fn clerk(spool: Arc<Spool>, mut told: mpsc::UnboundedReceiver<Told>) {
    let mut waited_for: VecDeque<(Duration, Waited)> = VecDeque::new();
    loop {
        let oldest = waited_for.front().map(|(since, _)| *since + limits::AUDIT_TIME);
        let left = oldest.map(|due| due.saturating_sub(spool.clock().monotonic()));
        tokio::select! {
            told = told.recv() => match told {
                Some(told) => told.tell(),
                None => return,
            },
            () = spool.gathered() => {
                // What the kernel has for the runtime by now is of the same turn.
                yield_now().await;
                let now = spool.clock().monotonic();
                waited_for.extend(spool.hand_over().into_iter().map(|waited| (now, waited)));
            }
            () = sleep(left.unwrap_or_default()), if left.is_some() => {
                if let Some((_, waited)) = waited_for.pop_front() {
                    waited.fate.tell(true, &Err("the spool's disk does not answer".into()));
                }
            }
        }
        while waited_for.front().is_some_and(|(_, waited)| waited.is_over()) {
            waited_for.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use lunasec_core::policy::Caller;

    use super::*;
    use crate::{
        audit::{About, Item, Who},
        telemetry::Operation,
    };

    fn records(items: usize) -> Records {
        let caller = Caller { uid: 1, gid: 2, pid: None };
        let operation = Operation::Detokenize;
        let item = Item { token: None, code: "ok", degraded: None };
        Records {
            about: About { at: 0, request: [b'0'; 16], caller, operation },
            who: Who::default(),
            items: vec![item; items],
        }
    }

    fn items(pieces: &[Piece]) -> Vec<usize> {
        pieces.iter().map(|piece| piece.items).collect()
    }

    #[test]
    fn what_is_gathered_in_a_turn_is_handed_over_in_order_and_in_pieces() {
        let mut queue = Queue { sleeps: true, ..Queue::default() };
        let piece = limits::AUDIT_PIECE;
        let first: Vec<bool> = [1, piece - 1, 1, piece + 1, 2]
            .map(|items| queue.gather(records(items), Some(false)).unwrap().1)
            .into();
        assert_eq!(first, [true, false, false, false, false]);
        assert!(queue.is_idle() && queue.take(&mut Vec::new()).is_empty(), "the turn is not over");
        let (waited_for, wake) = queue.hand_over();
        assert_eq!((waited_for.len(), wake, queue.sleeps), (4, true, false));
        assert!(queue.gather(records(3), None).unwrap().1, "of the next turn");
        let mut kept = vec![Piece { items: 7, ..Piece::default() }];
        assert_eq!(items(&queue.take(&mut kept)), [7, piece, 1, piece + 1, 2]);
        assert_eq!((kept.len(), queue.items()), (0, 3));
        assert!(queue.hand_over().0.is_empty(), "nobody waits");
        queue.ended = true;
        queue.gather(records(4), None).unwrap();
        assert_eq!(items(&queue.take(&mut Vec::new())), [3, 4]);
    }

    #[test]
    fn beyond_its_bound_what_nobody_waits_for_is_counted_and_the_rest_is_told() {
        let mut queue = Queue::default();
        assert!(queue.gather(records(limits::AUDIT_QUEUE), None).is_some());
        assert!(queue.gather(records(1), Some(true)).is_none());
        assert_eq!(queue.dropped, 0);
        assert!(queue.gather(records(2), None).is_none());
        assert_eq!(queue.dropped, 2);
    }

    #[test]
    fn of_what_cannot_be_written_stays_what_nobody_waits_for() {
        let mut queue = Queue::default();
        for (items, waits) in [(1, Some(true)), (2, None), (3, Some(false)), (4, None)] {
            queue.gather(records(items), waits).unwrap();
        }
        queue.hand_over();
        let left: Vec<_> = queue.take(&mut Vec::new()).into_iter().map(Piece::left).collect();
        assert_eq!(items(&left), [6]);
        assert!(!left[0].durable && left[0].waited().is_none());
    }

    #[tokio::test]
    async fn a_fate_is_known_once_and_a_failure_is_one_of_both_stages() {
        let written = Fate::default();
        written.tell(false, &Ok(()));
        assert_eq!(written.known(false).await, Ok(()));
        assert!(!written.synced.initialized(), "written is not synced");
        written.tell(true, &Err("full".into()));
        assert_eq!(written.known(false).await, Ok(()));
        assert_eq!(written.known(true).await, Err("full".into()));
    }
}
