//! What tokens and values print as, and what must not be kept in their place.

use crate::{Error, limits::MASK, limits::SHORT_BYTES};

pub(crate) const TOKEN_PRINT: &str = "[lunasec token: expose() gives its text]";
pub(crate) const PLAINTEXT_PRINT: &str = "[lunasec plaintext: reveal() gives its text]";

/// What prints, and what to give instead.
pub(crate) struct Print {
    pub(crate) what: &'static str,
    pub(crate) instead: &'static str,
}

pub(crate) fn printed_as(text: &str) -> Option<Print> {
    if text.contains(TOKEN_PRINT) {
        Some(Print { what: "Token", instead: "store what token.expose() gives" })
    } else if text.contains(PLAINTEXT_PRINT) {
        Some(Print {
            what: "Plaintext",
            instead: "give the Plaintext itself, or what reveal() gives",
        })
    } else {
        None
    }
}

/// It would be kept in the place of what it was printed for.
pub(crate) fn refuse_prints(text: &str) -> Result<(), Error> {
    match printed_as(text) {
        Some(Print { what, instead }) => Err(Error::invalid(format!(
            "this is how a {what} prints, not what it holds: {instead}"
        ))),
        None => Ok(()),
    }
}

pub(crate) fn is_mask(text: &str) -> bool {
    text.len() <= SHORT_BYTES && text.trim() == MASK
}
