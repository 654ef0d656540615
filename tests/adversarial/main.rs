//! Attacks on the binary as it runs: a file for each row of the table of attackers, see README.md. Each is carried
//! out with what an attacker of that row has. Against the product it must come to nothing, and against a build with the
//! one defence taken out (`undefended/`, `run`) it must work: else its failing would prove nothing.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "in a test, a panic is the report, and time is the machine's"
)]

mod attack;
mod audit_log;
mod bucket;
mod bucket_and_key;
mod bucket_write;
mod repeated;
mod session;
mod storage;
mod timing;
mod uid;
