//! Randomness: for idempotency keys and pauses.

use std::fmt::Write;

#[expect(clippy::disallowed_methods, reason = "the one place that asks for randomness")]
fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // Without randomness there is no key and no jitter worth the name, and nothing else works either.
    getrandom::fill(&mut bytes).unwrap_or_else(|error| abort(error));
    bytes
}

#[expect(
    clippy::panic,
    reason = "the kernel gives no randomness: a key that is not random would give one value's token to another"
)]
fn abort(error: getrandom::Error) -> ! {
    panic!("the kernel gives no randomness: {error}")
}

/// From 0 to 1.
pub(crate) fn fraction() -> f64 {
    f64::from(u32::from_ne_bytes(random())) / f64::from(u32::MAX)
}

/// A new idempotency key.
pub(crate) fn key() -> String {
    let mut text = String::with_capacity(32);
    for byte in random::<16>() {
        let _ = write!(text, "{byte:02x}");
    }
    text
}
