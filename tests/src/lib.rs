//! What the tests share: conformance functions for every backend, the release binary as a process,
//! and a raw HTTP client that can misbehave.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "in a test, a panic is the report, and time is the machine's"
)]

pub mod apart;
pub mod authority;
pub mod aws;
pub mod backend;
pub mod conformance;
pub mod dice;
pub mod disk;
pub mod fake;
pub mod grants;
pub mod grpc;
pub mod issuer;
pub mod namespace;
pub mod proxy;
pub mod raw;
pub mod sidecar;
pub mod world;

pub use backend::Backend;
pub use dice::Dice;
pub use grpc::Grpc;
pub use raw::{Answer, Raw};
pub use sidecar::Sidecar;
pub use world::World;
