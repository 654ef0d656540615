//! The release binary through its real socket.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "in a test, a panic is the report, and time is the machine's"
)]

mod access;
mod audit;
mod aws;
mod bad_input;
mod canaries;
mod cli_sessions;
mod config;
mod connections;
mod contract;
mod files;
mod first_contact;
mod floods;
mod forgeries;
mod grants;
mod hardening;
mod leaks;
mod log;
mod metrics;
mod records;
mod reload;
mod sandbox;
mod sessions;
mod sinks;
mod socket;
mod sweep;
