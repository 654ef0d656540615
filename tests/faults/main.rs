//! The release binary while things around it break.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "in a test, a panic is the report, and time is the machine's"
)]

mod aws;
mod drill;
mod embedded;
mod idempotency;
mod journal;
mod outage;
mod rounds;
mod storm;
mod sweep;
