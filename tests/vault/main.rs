//! The verbs on real stores, under a clock that the tests move and with writers that interleave.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "in a test, a panic is the report"
)]

mod cached;
mod canaries;
mod degradation;
mod grants;
mod journal;
mod outage;
mod retries;
mod sweep;
mod taxonomy;
mod time;
