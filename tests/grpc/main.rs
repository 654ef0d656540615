//! gRPC and JSON over HTTP/2, through the release binary's real socket.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "in a test, a panic is the report, and time is the machine's"
)]

mod apart;
mod clients;
mod connections;
mod contract;
mod faults;
mod frames;
mod grants;
mod leaks;
mod limits;
mod stop;
