use std::{borrow::Cow, fmt};

use base64::{Engine, engine::general_purpose::STANDARD};
use lunasec_api::{Detokenized, Encoding};

use crate::Error;

/// A value in the clear. Prints nothing of itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Value(Vec<u8>);

impl Value {
    /// The bytes.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, taken over.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    pub(crate) fn from_wire(wire: &Detokenized<'_>) -> Result<Self, Error> {
        Ok(Self(match wire.encoding {
            Encoding::Utf8 => wire.value.as_bytes().to_vec(),
            Encoding::Base64 => STANDARD
                .decode(wire.value.as_bytes())
                .map_err(|_| Error::Protocol("a value is not base64".into()))?,
        }))
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Value(…)")
    }
}

/// Text as text, and what is no text as base64.
pub(crate) fn to_wire(value: &[u8]) -> (Cow<'_, str>, Option<Encoding>) {
    match str::from_utf8(value) {
        Ok(text) => (text.into(), None),
        Err(_) => (STANDARD.encode(value).into(), Some(Encoding::Base64)),
    }
}
