//! Anchors: heads of a chain in storage, now and then. Whoever rewrites or cuts off the files of a trail would have to do so
//! there, too, where an object that is written first stays: with `If-None-Match`, a second write is refused.

use std::{collections::BTreeSet, sync::Arc};

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

/// Anchors the chain of a spool, each time that some time has passed in which it grew; and at the end, when `stop` resolves.
pub async fn run(
    spool: Arc<Spool>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    stop: impl Future<Output = ()>,
) {
    let (head, mut anchored) = (spool.head(), None);
    let rounds = async {
        loop {
            tokio::time::sleep(limits::AUDIT_ANCHOR).await;
            let now = *head.borrow();
            anchor(&*store, &*clock, now, &mut anchored).await;
        }
    };
    tokio::select! {
        () = rounds => {}
        () = stop => {}
    }
    let now = *head.borrow();
    anchor(&*store, &*clock, now, &mut anchored).await;
}

async fn anchor(
    store: &dyn Store,
    clock: &dyn Clock,
    synced: Option<Synced>,
    anchored: &mut Option<Synced>,
) {
    let Some(synced) = synced.filter(|_| synced != *anchored) else { return };
    let Synced { chain, seq, head } = synced;
    let (chain_text, hash) = (chain.to_string(), hex(&head));
    let object = Anchor { v: 1, chain: chain_text, seq, hash, time: rfc3339(clock.now()) };
    // Text and numbers always are JSON.
    let bytes = serde_json::to_vec(&object).unwrap_or_default();
    match store.put_new(&Name::anchor(chain, seq), bytes.into()).await {
        // It is its own, whose answer was lost: nobody else has this chain.
        Ok(_) | Err(StoreError::Precondition) => *anchored = Some(synced),
        Err(error) => tracing::warn!(%error, "the audit trail is not anchored; it is tried again"),
    }
}

/// The anchors of some chains.
pub async fn read(store: &dyn Store, chains: &BTreeSet<ChainId>) -> Result<Anchors, StoreError> {
    let mut anchors = Anchors::new();
    let mut after: Option<Name> = None;
    loop {
        let page = store.list(Name::ANCHORS, after.as_ref(), limits::PAGE).await?;
        for name in &page {
            let Some(chain) = chain_of(name).filter(|chain| chains.contains(chain)) else {
                continue;
            };
            let all = anchors.entry(chain).or_default();
            if let Some(object) = store.get(name).await?
                && let Some((seq, head)) = parse(&object.bytes)
            {
                all.insert(seq, head);
            }
        }
        match page.last() {
            Some(last) if page.len() == limits::PAGE => after = Some(last.clone()),
            _ => return Ok(anchors),
        }
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
