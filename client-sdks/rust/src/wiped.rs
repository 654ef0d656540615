//! Memory that is wiped when it is dropped, whatever of it was used.

use std::fmt;

use serde::{Deserialize, Deserializer};
use zeroize::{Zeroize, Zeroizing};

use crate::Plaintext;

/// Text of an answer or of a request that may be a value: wiped when it is dropped, also where the rest of it was not
/// understood, and never quoted in an error.
pub(crate) struct Text(pub(crate) Zeroizing<String>);

impl Text {
    pub(crate) fn into_plaintext(self) -> Plaintext {
        Plaintext::of_text(self.0)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text")
            }

            fn visit_str<E>(self, text: &str) -> Result<Text, E> {
                Ok(Text(Zeroizing::new(text.to_owned())))
            }

            fn visit_string<E>(self, text: String) -> Result<Text, E> {
                Ok(Text(Zeroizing::new(text)))
            }
        }

        // What a parser says of something else quotes it.
        let none = |_| serde::de::Error::custom("text is expected here, and this is none");
        deserializer.deserialize_string(Visitor).map_err(none)
    }
}

/// Bytes of a body.
pub(crate) struct Wiped(pub(crate) Vec<u8>);

impl Drop for Wiped {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl AsRef<[u8]> for Wiped {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Wiped {
    /// Grows by copying, and wipes what it leaves.
    pub(crate) fn append(&mut self, more: &[u8]) {
        let wanted = self.0.len() + more.len();
        if wanted > self.0.capacity() {
            let mut larger = Vec::with_capacity(wanted.max(2 * self.0.len()));
            larger.extend_from_slice(&self.0);
            self.0.zeroize();
            self.0 = larger;
        }
        self.0.extend_from_slice(more);
    }
}
