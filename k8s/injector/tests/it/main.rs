//! The injector over real TLS, against an API server that speaks as much of the Kubernetes API as it uses.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;

mod attacks;
mod binary;
mod certificates;
mod missed;
mod webhook;
