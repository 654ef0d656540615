//! Sweep: removes what expired and old tombstones, by reading headers only. It needs no token and
//! no key, so it can also run where neither is.

use std::time::Duration;

use futures_util::future::join_all;
use lunasec_api::{Code, SweepPage};
use lunasec_core::{
    ids::Millis,
    limits,
    policy::Operation,
    record::{HEADER_LEN, Header},
};

use super::{Call, Vault};
use crate::{
    failure::Failure,
    store::{Name, Store, StoreError},
};

/// How long records outlive their end.
#[derive(Clone, Copy, Debug)]
pub struct Graces {
    /// Past its expiry.
    pub expired: Duration,
    /// Past the delete.
    pub tombstone: Duration,
}

impl Default for Graces {
    fn default() -> Self {
        Self { expired: limits::EXPIRED_GRACE, tombstone: limits::TOMBSTONE_GRACE }
    }
}

enum Verdict {
    Keep,
    Expired,
    Tombstone,
    Unreadable,
}

impl Graces {
    fn judge(&self, head: &[u8], now: Millis) -> Verdict {
        let past = |at: Millis, grace: Duration| {
            let grace = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
            at.saturating_add(grace) <= now
        };
        match Header::parse(head) {
            Err(_) => Verdict::Unreadable,
            Ok(header) if header.tombstone && past(header.created_at, self.tombstone) => {
                Verdict::Tombstone
            }
            Ok(header) if header.expires_at.is_some_and(|at| past(at, self.expired)) => {
                Verdict::Expired
            }
            Ok(_) => Verdict::Keep,
        }
    }
}

/// One step through the records.
pub async fn sweep_page(
    store: &dyn Store,
    graces: Graces,
    now: Millis,
    after: Option<&Name>,
    dry_run: bool,
) -> Result<SweepPage, StoreError> {
    let heads = store.heads(Name::RECORDS, after, limits::PAGE, HEADER_LEN).await?;
    let mut page = SweepPage { requests: heads.requests, ..SweepPage::default() };
    let full = heads.objects.len() == limits::PAGE;
    page.next = heads.objects.last().filter(|_| full).map(|(name, _)| name.as_str().to_owned());
    let mut doomed = Vec::new();
    for (name, object) in heads.objects {
        page.examined += 1;
        match graces.judge(&object.bytes, now) {
            Verdict::Keep => {}
            Verdict::Unreadable => page.unreadable += 1,
            verdict => doomed.push((name, object.version, verdict)),
        }
    }
    // Together, so that a store that can will sync them as one.
    let removals = doomed.iter().map(|(name, version, verdict)| async move {
        let removed = dry_run || store.remove_if(name, version).await?;
        Ok::<_, StoreError>((verdict, removed))
    });
    for removed in join_all(removals).await {
        // What was written since the header was read stays.
        let (verdict, removed) = removed?;
        page.requests += u64::from(!dry_run);
        match verdict {
            Verdict::Tombstone => page.tombstones += u64::from(removed),
            _ => page.expired += u64::from(removed),
        }
    }
    Ok(page)
}

impl Vault {
    /// One step through the records of all namespaces, for the sidecar's operator.
    pub async fn sweep(
        &self,
        call: &Call,
        graces: Graces,
        after: Option<&Name>,
        dry_run: bool,
    ) -> Result<SweepPage, Failure> {
        self.authorize(call, Operation::Sweep)?;
        if graces.tombstone < limits::TOMBSTONE_GRACE_LEAST {
            return Err(Failure::new(
                Code::InvalidRequest,
                "tombstones are kept for at least 48h, or a late retry could bring a deleted value back",
            ));
        }
        Ok(sweep_page(&*self.store, graces, self.clock.now(), after, dry_run).await?)
    }
}
