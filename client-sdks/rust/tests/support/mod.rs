//! What tests of this crate share: the real binary, and a server that does what a test says.
#![allow(dead_code, reason = "not every test uses all of it")]

pub(crate) mod scripted;
pub(crate) mod sidecar;

/// A well-formed token.
pub(crate) fn token(number: usize) -> String {
    format!("lunasec-00000000-0000-4000-8000-{number:012x}")
}

pub(crate) fn tokens(count: usize) -> Vec<String> {
    (0..count).map(token).collect()
}
