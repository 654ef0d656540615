//! Every body is understood or refused in our own words.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lunasec_api as api;
use lunasec_sidecar::http::json::{check_metadata, parse};

/// Longer than anything that we say, and shorter than what a refusal could repeat of a large body.
const WORDS: usize = 300;

macro_rules! parse_as {
    ($body:expr, $($kind:ty),+) => {$(
        if let Err(failure) = parse::<$kind>($body) {
            assert_eq!(failure.code, api::Code::InvalidRequest);
            assert!(failure.detail.len() < WORDS, "{}", failure.detail);
        }
    )+};
}

fuzz_target!(|body: &[u8]| {
    parse_as!(
        body,
        api::TokenizeRequest<'_>,
        api::TokenizeBatch<'_>,
        api::TokenRequest<'_>,
        api::TokensRequest<'_>,
        api::MetadataSet<'_>,
        api::GrantsCreate<'_>,
        api::GrantsVerify<'_>,
        api::GrantsRevoke<'_>,
        api::CanaryRequest,
        api::SweepRequest
    );
    if let Ok(text) = std::str::from_utf8(body)
        && check_metadata(text, 1_000).is_ok()
    {
        // What is taken can be given back.
        assert!(text.len() <= 1_000 && text.starts_with('{'));
    }
});
