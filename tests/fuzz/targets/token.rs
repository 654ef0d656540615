//! Whatever is taken for a token is exactly what that token is written as.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lunasec_core::token::Token;

fuzz_target!(|text: &str| {
    if let Ok(token) = Token::parse(text) {
        assert_eq!(token.expose_text(), text);
    }
});
