//! What a sealed value begins with: how its answer is written, or that it is none.

use lunasec_api::Encoding;

/// The first byte of a sealed value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// The rest is a value, written so in JSON.
    Value(Encoding),
    /// The rest is the note of a canary. It is in here, so that a bucket does not show which records are canaries.
    Canary,
}

impl Form {
    pub(super) const fn byte(self) -> u8 {
        match self {
            Self::Value(Encoding::Utf8) => 0,
            Self::Value(Encoding::Base64) => 1,
            Self::Canary => 2,
        }
    }

    pub(super) fn of(sealed: &[u8]) -> Option<Self> {
        [Self::Value(Encoding::Utf8), Self::Value(Encoding::Base64), Self::Canary]
            .into_iter()
            .find(|form| sealed.first() == Some(&form.byte()))
    }
}
