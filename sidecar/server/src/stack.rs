//! What every request passes, from the outside in, and why in this order.
//!
//! 1. A request id, so that even a refusal can be found in the log.
//! 2. Metrics, so that refusals are counted too, and so is what its client takes back.
//! 3. Admission: more requests than can be at work are refused at once, before they cost anything.
//! 4. The deadline, which covers the reading of the body.
//! 5. A panic ends one request and not the process; it is inside the deadline and the metrics, so
//!    that it is counted as what it is.
//! 6. The audit trail: no answer leaves before its records are as safe as they have to be. It is outside of the deadline,
//!    which it has to record, too.
//! 7. HTTP, or gRPC, which passes the same layers; see [`h2`].

use std::{
    panic::AssertUnwindSafe,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use futures_util::FutureExt;
use hyper::{
    Request,
    body::Incoming,
    header::{ALLOW, HeaderValue},
};
use lunasec_api::Code;
use lunasec_core::policy::Caller;
use tokio::task::yield_now;

use crate::{
    audit::{Audit, Walk},
    config::Assurances,
    env::Clock,
    failure::Failure,
    grpc::Grpc,
    http::{Answer, Http, Route, answer, discard},
    keys::KeyError,
    seldom::Seldom,
    store::StoreError,
    telemetry::{Operation, Telemetry},
    within::within,
};

mod h2;

/// See the module.
pub struct Stack {
    /// Replaced whole when the configuration is read again.
    http: ArcSwap<Http>,
    grpc: Grpc,
    telemetry: Arc<Telemetry>,
    audit: ArcSwap<Audit>,
    at_work: AtomicUsize,
    ids: AtomicU64,
    /// What is logged of failures, one for each code.
    failures: Vec<Seldom>,
}

impl Stack {
    /// Stacks everything before `http`. `first_id` is random, so that ids differ between processes.
    pub fn new(
        http: Http,
        telemetry: Arc<Telemetry>,
        audit: Audit,
        clock: &Arc<dyn Clock>,
        first_id: u64,
    ) -> Self {
        let (at_work, ids) = (AtomicUsize::new(0), AtomicU64::new(first_id));
        let http = ArcSwap::from_pointee(http);
        let failures = Code::ALL.iter().map(|_| Seldom::new(Arc::clone(clock))).collect();
        let audit = ArcSwap::from_pointee(audit);
        Self { http, grpc: Grpc::default(), telemetry, audit, at_work, ids, failures }
    }

    /// What serves from the next request on; those at work end as they began.
    pub fn replace(&self, http: Http, assurances: Assurances) {
        self.http.store(Arc::new(http));
        self.audit.store(Arc::new(self.audit.load().renewed(assurances)));
    }

    /// What serves now.
    pub fn http(&self) -> Arc<Http> {
        self.http.load_full()
    }

    /// Answers one request.
    pub async fn serve(&self, caller: Caller, request: Request<Incoming>) -> Answer {
        let id = self.next_id();
        // The head stays here, and the layers below borrow it: moving it through each costs more
        // than the layers do.
        let (head, body) = request.into_parts();
        let route = Route::of(&head.method, head.uri.path());
        let counted = self.telemetry.begin(route.operation());
        let http = self.http();
        let admitted = self
            .admit(http.limits.requests)
            .and_then(|at_work| Ok((at_work, self.set_out(&id, caller, route.operation())?)));
        let result = match admitted {
            Ok((_at_work, walk)) => {
                // Pinned where it is made, for the same reason.
                let trail = walk.trail().clone();
                let work = pin!(http.answer(route, caller, &head.headers, body, &trail));
                let time = http.limits.request_time;
                let result = guarded(work, time, || self.late(time)).await;
                walk.settle(result).await
            }
            Err(failure) => {
                discard(&head.headers, body);
                Err(failure)
            }
        };
        unless_taken_back(result.is_err()).await;
        let code = result.as_ref().err().map(|failure| failure.code);
        counted.answered(code);
        let mut answer = result.unwrap_or_else(|failure| {
            self.log(&id, caller, route.operation(), &failure);
            answer::problem(&failure)
        });
        if let Route::WrongMethod(allow) = route {
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
        }
        answer::identified(answer, id)
    }

    /// What a connection beyond the limit is sent, instead of being read.
    pub fn refuse_connection(&self) -> Vec<u8> {
        let failure = too_many_connections();
        self.telemetry.begin(Operation::Unknown).answered(Some(failure.code));
        answer::raw(&failure, self.next_id())
    }

    fn next_id(&self) -> HeaderValue {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let id = self.ids.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let mut text = [0; 16];
        for (pair, byte) in text.chunks_exact_mut(2).zip(id) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        // Hexadecimal digits are always a header's value.
        HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static("0"))
    }

    /// Why a request took longer than `time`: what did not answer meanwhile, if something did not.
    fn late(&self, time: Duration) -> Failure {
        let cause = || "the request took too long and it did not answer all of the time".to_owned();
        if self.telemetry.storage.was_away_within(time) {
            return StoreError::Unavailable(cause()).into();
        }
        if self.telemetry.keys.was_away_within(time) {
            return KeyError::Unavailable(cause()).into();
        }
        Failure::new(
            Code::DeadlineExceeded,
            "the request took too long; a write may still complete",
        )
    }

    /// The one place where a failure is logged. What the caller did wrong is no news to the operator, and of what
    /// many are told alike one in a while is; at `debug` each is there.
    fn log(&self, id: &HeaderValue, caller: Caller, operation: Operation, failure: &Failure) {
        let (id, operation) = (id.to_str().unwrap_or_default(), operation.as_str());
        let (code, cause) = (failure.code.as_str(), failure.cause().unwrap_or("none"));
        let left_out = match failure.code {
            // Its caller is told to look for its id.
            Code::Internal => Some(0),
            Code::Corrupted
            | Code::StorageUnavailable
            | Code::KeysUnavailable
            | Code::JournalFull
            | Code::DeadlineExceeded => self.failures[failure.code as usize].admit(),
            _ => {
                let Caller { uid, gid, pid } = caller;
                tracing::debug!(id, operation, code, uid, gid, pid, "request refused");
                return;
            }
        };
        match (failure.code, left_out) {
            (Code::Internal | Code::Corrupted, Some(left_out)) => {
                tracing::error!(id, operation, code, cause, left_out, "request failed");
            }
            (_, Some(left_out)) => {
                tracing::warn!(id, operation, code, cause, left_out, "request failed");
            }
            (_, None) => tracing::debug!(id, operation, code, cause, "request failed"),
        }
    }

    /// Begins the trail of a request, if it can be recorded as it must.
    fn set_out(
        &self,
        id: &HeaderValue,
        caller: Caller,
        operation: Operation,
    ) -> Result<Walk, Failure> {
        // Sixteen digits, as they are made above.
        let id = id.as_bytes().try_into().unwrap_or_default();
        let walk = self.audit.load().begin(id, caller, operation);
        walk.may_begin().map(|()| walk)
    }

    fn admit(&self, most: usize) -> Result<AtWork<'_>, Failure> {
        let before = self.at_work.fetch_add(1, Ordering::Relaxed);
        let at_work = AtWork(&self.at_work);
        if before >= most {
            return Err(Failure::new(
                Code::Overloaded,
                "the sidecar has too many requests at work; try again later",
            ));
        }
        Ok(at_work)
    }
}

/// Runs `work` within its deadline, with a panic as one more way to fail. None where that was not enough.
async fn guarded<T>(
    work: Pin<&mut impl Future<Output = Result<T, Failure>>>,
    deadline: Duration,
    late: impl FnOnce() -> Failure,
) -> Result<T, Failure> {
    match within(deadline, AssertUnwindSafe(work).catch_unwind()).await {
        Some(Ok(result)) => result,
        Some(Err(_)) => Err(Failure::internal("a panic; its place is in the log above")),
        None => Err(late()),
    }
}

/// A body that its client cut short by a reset looks like a bad one. If it was, hyper sees that as soon
/// as this waits, and drops the request, which is counted as cancelled then.
async fn unless_taken_back(failed: bool) {
    if failed {
        yield_now().await;
    }
}

fn too_many_connections() -> Failure {
    Failure::new(
        Code::Overloaded,
        "the sidecar has too many connections; close some, or try again later",
    )
}

/// Counts one request until it is dropped.
struct AtWork<'a>(&'a AtomicUsize);

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
