//! Tests through the public interface, before a scripted server and before the real binary.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "in a test, a panic is the report"
)]

mod errors;
mod gathered;
mod limits;
mod policies;
mod real;
mod redacted;
mod runtimes;
#[path = "../support/mod.rs"]
mod support;
mod versions;
