//! Anchors: heads of a chain in storage, now and then. Whoever rewrites or cuts off the files of a trail would have to do so
//! there, too, where an object that is written first stays: with `If-None-Match`, a second write is refused.

use std::{collections::BTreeSet, future::pending, sync::Arc};

use futures_util::{StreamExt, TryStreamExt, stream};
use lunasec_core::{
    audit::{Anchors, ChainId, Head, hex, parse_head},
    limits,
};
use serde::{Deserialize, Serialize};

use super::spool::{Spool, Synced};
use crate::{
    env::Clock,
    http::rfc3339,
    store::{Name, Store, StoreError},
    within::within,
};

/// An anchor's object.
#[derive(Serialize, Deserialize)]
struct Anchor {
    v: u8,
    chain: String,
    seq: u64,
    hash: String,
    time: String,
}

/// Why anchors cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum AnchorError {
    /// The store says.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What lies there is no anchor, or another's.
    #[error("{0} is no anchor of that line any more: somebody has written over it")]
    Damaged(String),
}

/// Anchors the chain of a spool: as it begins, each time that some time has passed in which it grew, and at the end, when `stop`
/// resolves. So a chain of which storage knows nothing is of no sidecar that had storage. The ends of chains that
/// processes have left there are anchored before; what storage does not take is tried again, by the next process if need be.
pub async fn run(
    spool: Arc<Spool>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    stop: impl Future<Output = ()>,
) {
    let mut begun = spool.head();
    let head = begun.clone();
    let anchors = Anchoring { store, clock };
    let mut anchored = None;
    let rounds = async {
        let (mut last, mut retry) = (None, None);
        loop {
            let other = |now: &Option<Synced>| now.is_some_and(|now| Some(now.chain) != last);
            // At once of a chain that begins. Where the spool has ended, `stop` resolves.
            let begins = async { begun.wait_for(other).await.is_err() };
            if within(retry.unwrap_or(limits::AUDIT_ANCHOR), begins).await == Some(true) {
                pending::<()>().await;
            }
            let now = *head.borrow();
            last = now.map(|now| now.chain);
            // Its own first: others may have left many.
            if now != anchored && anchors.put(now).await {
                anchored = now;
            }
            let all_are = now == anchored && anchors.put_left(&spool).await;
            retry = match (all_are, retry) {
                (true, _) => None,
                (false, None) => Some(limits::AUDIT_ANCHOR_RETRY),
                (false, Some(pause)) => Some(limits::AUDIT_ANCHOR.min(pause * 2)),
            };
        }
    };
    tokio::select! {
        () = rounds => {}
        () = stop => {}
    }
    let now = *head.borrow();
    if now == anchored || anchors.put(now).await {
        anchors.put_left(&spool).await;
    }
}

struct Anchoring {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
}

impl Anchoring {
    /// The ends of the chains that were left, in their order, as far as storage takes them: whether all lie there.
    async fn put_left(&self, spool: &Arc<Spool>) -> bool {
        let (mut put, mut all) = (0, true);
        while let Some(end) = spool.left() {
            if !self.put(Some(end)).await {
                all = false;
                break;
            }
            spool.left_is_anchored(end);
            put += 1;
            if put % limits::AUDIT_LEFT_KEPT == 0 {
                keep(spool).await;
            }
        }
        if put % limits::AUDIT_LEFT_KEPT != 0 {
            keep(spool).await;
        }
        all
    }

    /// Whether it lies there.
    async fn put(&self, synced: Option<Synced>) -> bool {
        let Some(Synced { chain, seq, head }) = synced else { return false };
        let (chain_text, hash, time) = (chain.to_string(), hex(&head), rfc3339(self.clock.now()));
        let object = Anchor { v: 1, chain: chain_text, seq, hash, time };
        // Text and numbers always are JSON.
        let bytes = serde_json::to_vec(&object).unwrap_or_default();
        match self.store.put_new(&Name::anchor(chain, seq), bytes.into()).await {
            // It is its own, whose answer was lost: nobody else has this chain.
            Ok(_) | Err(StoreError::Precondition) => true,
            Err(error) => {
                tracing::warn!(%error, "the audit trail is not anchored; it is tried again");
                false
            }
        }
    }
}

/// A disk that hangs holds up nobody else.
async fn keep(spool: &Arc<Spool>) {
    let spool = Arc::clone(spool);
    let _ = tokio::task::spawn_blocking(move || spool.keep_left()).await;
}

/// The anchors of some chains; of the others, that there are some.
pub async fn read(store: &dyn Store, chains: &BTreeSet<ChainId>) -> Result<Anchors, AnchorError> {
    let mut anchors = Anchors::new();
    let mut after: Option<Name> = None;
    loop {
        let page = store.list(Name::ANCHORS, after.as_ref(), limits::PAGE).await?;
        let mut wanted = Vec::new();
        for name in &page {
            // What else somebody has put there is nothing to us.
            let Some(chain) = chain_of(name) else { continue };
            anchors.entry(chain).or_default();
            if chains.contains(&chain) {
                wanted.push(one(store, name, chain));
            }
        }
        let mut read = stream::iter(wanted).buffer_unordered(limits::BATCH_CONCURRENCY);
        while let Some((chain, seq, head)) = read.try_next().await? {
            anchors.entry(chain).or_default().insert(seq, head);
        }
        match page.last() {
            Some(last) if page.len() == limits::PAGE => after = Some(last.clone()),
            _ => return Ok(anchors),
        }
    }
}

async fn one(
    store: &dyn Store,
    name: &Name,
    chain: ChainId,
) -> Result<(ChainId, u64, Head), AnchorError> {
    let object = store.get(name).await?;
    let anchor = object.and_then(|object| parse(&object.bytes));
    // Under another name it would say nothing of this line.
    match anchor.filter(|(seq, _)| Name::anchor(chain, *seq) == *name) {
        Some((seq, head)) => Ok((chain, seq, head)),
        None => Err(AnchorError::Damaged(name.as_str().to_owned())),
    }
}

fn chain_of(name: &Name) -> Option<ChainId> {
    let (chain, _) = name.as_str().strip_prefix(Name::ANCHORS)?.split_once('/')?;
    ChainId::parse(chain)
}

fn parse(bytes: &[u8]) -> Option<(u64, Head)> {
    let anchor: Anchor = serde_json::from_slice(bytes).ok()?;
    Some((anchor.seq, parse_head(&anchor.hash)?))
}

#[cfg(test)]
mod tests;
