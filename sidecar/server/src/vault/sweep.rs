//! Sweep: removes what expired and old tombstones, by reading headers only, then the objects of
//! sessions whose grants have all ended. It needs no token and no key, so it can also run where neither
//! is.

use std::time::Duration;

use futures_util::future::join_all;
use lunasec_api::{Code, SweepPage};
use lunasec_core::{
    grant::SessionState,
    ids::Millis,
    limits,
    policy::Operation,
    record::{HEADER_LEN, Header},
};

use super::{Call, Vault, millis};
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

/// Enough of an object to judge it by.
const HEAD_LEN: usize = HEADER_LEN;

enum Verdict {
    Keep,
    Expired,
    Tombstone,
    Unreadable,
}

impl Graces {
    /// What to do with a record, by its header.
    fn judge_record(&self, head: &[u8], now: Millis) -> Verdict {
        let past = |at: Millis, grace| at.saturating_add(millis(grace)) <= now;
        match Header::parse(head) {
            Err(_) => Verdict::Unreadable,
            // Also of what would have expired: a grant that waits in a journal must find that it was taken back.
            Ok(header) if header.tombstone => match past(header.created_at, self.tombstone) {
                true => Verdict::Tombstone,
                false => Verdict::Keep,
            },
            Ok(header) if header.expires_at.is_some_and(|at| past(at, self.expired)) => {
                Verdict::Expired
            }
            Ok(_) => Verdict::Keep,
        }
    }

    /// What to do with a session's object.
    fn judge_session(&self, bytes: &[u8], now: Millis) -> Verdict {
        match SessionState::peek_until(bytes) {
            None => Verdict::Unreadable,
            Some(until) if until.saturating_add(millis(self.expired)) <= now => Verdict::Expired,
            Some(_) => Verdict::Keep,
        }
    }
}

/// One step through the records, and behind the last of them through the sessions.
pub async fn sweep_page(
    store: &dyn Store,
    graces: Graces,
    now: Millis,
    after: Option<&Name>,
    dry_run: bool,
) -> Result<SweepPage, StoreError> {
    let in_sessions = after.is_some_and(Name::is_session);
    let prefix = if in_sessions { Name::SESSIONS } else { Name::RECORDS };
    let heads = store.heads(prefix, after, limits::PAGE, HEAD_LEN).await?;
    let mut page = SweepPage { requests: heads.requests, ..SweepPage::default() };
    page.next = match heads.next {
        Some(next) => Some(next.as_str().to_owned()),
        None => (!in_sessions).then(|| Name::SESSIONS.to_owned()),
    };
    let mut doomed = Vec::new();
    for (name, object) in heads.objects {
        page.examined += 1;
        let verdict = if in_sessions {
            graces.judge_session(&object.bytes, now)
        } else {
            graces.judge_record(&object.bytes, now)
        };
        match verdict {
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
