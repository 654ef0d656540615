use std::{
    borrow::Cow,
    fmt,
    hash::{Hash, Hasher},
};

use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

use crate::{
    Error,
    limits::SHORT_BYTES,
    prints::{PLAINTEXT_PRINT, is_mask, refuse_prints},
    wiped::Text,
};

/// A value in the clear, that prints redacted until it is asked: [`Plaintext::reveal`] for text,
/// [`Plaintext::reveal_bytes`] for bytes. Its memory is wiped when it is dropped.
///
/// ```
/// # use lunasec_client::Plaintext;
/// let value = Plaintext::from("4111 1111 1111 1111");
/// assert_eq!(format!("{value:?}"), "[lunasec plaintext: reveal() gives its text]");
/// assert_eq!(value.reveal()?, "4111 1111 1111 1111");
/// # Ok::<(), lunasec_client::Error>(())
/// ```
///
/// ```compile_fail
/// # let value = lunasec_client::Plaintext::from("x");
/// println!("{value}"); // does not compile
/// ```
///
/// ```compile_fail
/// # let value = lunasec_client::Plaintext::from("x");
/// serde_json::to_string(&value); // does not compile either
/// ```
#[derive(Clone)]
pub struct Plaintext(Inside);

#[derive(Clone)]
enum Inside {
    Text(Zeroizing<String>),
    Bytes(Zeroizing<Vec<u8>>),
}

impl Plaintext {
    /// Text where the bytes are UTF-8, else bytes: for files and columns of which nobody says what they are.
    pub fn text_or_bytes(bytes: impl Into<Vec<u8>>) -> Self {
        match String::from_utf8(bytes.into()) {
            Ok(text) => text.into(),
            Err(error) => error.into_bytes().into(),
        }
    }

    /// Whether it was tokenized as text, or as bytes.
    pub fn is_text(&self) -> bool {
        matches!(self.0, Inside::Text(_))
    }

    /// The text. An error where the value was tokenized as bytes: they may be no text.
    pub fn reveal(&self) -> Result<&str, Error> {
        match &self.0 {
            Inside::Text(text) => Ok(text),
            Inside::Bytes(_) => Err(Error::invalid(
                "this value was tokenized as bytes, not as text: ask for them with reveal_bytes()",
            )),
        }
    }

    /// The bytes; of a text, those of its UTF-8.
    pub fn reveal_bytes(&self) -> &[u8] {
        match &self.0 {
            Inside::Text(text) => text.as_bytes(),
            Inside::Bytes(bytes) => bytes,
        }
    }

    pub(crate) fn of_text(text: Zeroizing<String>) -> Self {
        Self(Inside::Text(text))
    }

    /// The text where it is one, to look at what it says.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.0 {
            Inside::Text(text) => Some(text),
            Inside::Bytes(_) => None,
        }
    }

    /// Refuses what is shown or printed instead of a value: it would be kept in the place of what it stood for.
    pub(crate) fn refuse_stand_ins(&self) -> Result<(), Error> {
        let bytes = self.reveal_bytes();
        let short = if self.is_text() || bytes.len() <= SHORT_BYTES { bytes } else { &[] };
        let text = match self.text() {
            Some(text) => Cow::Borrowed(text),
            None => String::from_utf8_lossy(short),
        };
        if is_mask(&text) {
            return Err(Error::invalid(
                "this is the mask that is shown when a value is not available, not a value: tokenize the value",
            ));
        }
        refuse_prints(&text)
    }
}

impl fmt::Debug for Plaintext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PLAINTEXT_PRINT)
    }
}

/// Of the same kind, and the same inside.
impl PartialEq for Plaintext {
    fn eq(&self, other: &Self) -> bool {
        self.is_text() == other.is_text() && self.reveal_bytes() == other.reveal_bytes()
    }
}

impl Eq for Plaintext {}

impl Hash for Plaintext {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.is_text().hash(state);
        self.reveal_bytes().hash(state);
    }
}

/// From text.
impl<'de> Deserialize<'de> for Plaintext {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Text::deserialize(deserializer)?.into_plaintext())
    }
}

impl From<String> for Plaintext {
    fn from(text: String) -> Self {
        Self(Inside::Text(text.into()))
    }
}

impl From<&str> for Plaintext {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<&String> for Plaintext {
    fn from(text: &String) -> Self {
        text.as_str().into()
    }
}

impl From<Vec<u8>> for Plaintext {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Inside::Bytes(bytes.into()))
    }
}

impl From<&[u8]> for Plaintext {
    fn from(bytes: &[u8]) -> Self {
        bytes.to_vec().into()
    }
}

impl<const N: usize> From<&[u8; N]> for Plaintext {
    fn from(bytes: &[u8; N]) -> Self {
        bytes.to_vec().into()
    }
}

impl From<&Plaintext> for Plaintext {
    fn from(value: &Plaintext) -> Self {
        value.clone()
    }
}
