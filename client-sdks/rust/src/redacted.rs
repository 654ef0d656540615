//! Tokens and values, which print nothing of themselves.

use std::{
    borrow::Cow,
    fmt,
    hash::{Hash, Hasher},
};

use serde::{Deserialize, Deserializer};
use zeroize::{Zeroize, Zeroizing};

use crate::{Error, ErrorKind, error::Facts, limits::MASK, limits::SHORT_BYTES};

const TOKEN_PRINT: &str = "[lunasec token: expose() gives its text]";
const PLAINTEXT_PRINT: &str = "[lunasec plaintext: reveal() gives its text]";

/// What prints, and what to give instead.
struct Print {
    what: &'static str,
    instead: &'static str,
}

fn printed_as(text: &str) -> Option<Print> {
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

fn is_mask(text: &str) -> bool {
    text.len() <= SHORT_BYTES && text.trim() == MASK
}

/// What to keep instead of a value.
///
/// It has no `Display` and no `Serialize`, and `Debug` prints it redacted. **To store it, or to hand it to a
/// browser, ask for its text: [`Token::expose`]**; for a field that serde writes as text there is
/// [`StoredToken`](crate::StoredToken). Its memory is wiped when it is dropped.
///
/// ```
/// # use lunasec_client::Token;
/// let token = Token::from_text("lunasec-6ba7b810-9dad-41d1-80b4-00c04fd430c8")?;
/// assert_eq!(format!("{token:?}"), "[lunasec token: expose() gives its text]");
/// assert!(token.expose().starts_with("lunasec-"));
/// # Ok::<(), lunasec_client::Error>(())
/// ```
///
/// ```compile_fail
/// # let token = lunasec_client::Token::from_text("x").unwrap();
/// println!("{token}"); // does not compile
/// ```
///
/// ```compile_fail
/// # let token = lunasec_client::Token::from_text("x").unwrap();
/// serde_json::to_string(&token); // does not compile either
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Zeroizing<String>);

impl Token {
    /// A token from its text, as a database gives it back. Only what was redacted is refused here; whether it is a
    /// token is the sidecar's to say.
    pub fn from_text(text: impl Into<String>) -> Result<Self, Error> {
        let text = Zeroizing::new(text.into());
        match printed_as(&text) {
            None => Ok(Self(text)),
            Some(Print { what, instead }) => Err(Error::new(
                ErrorKind::InvalidToken,
                format!(
                    "this is how a {what} prints, not a token: {instead}; what was stored here is lost"
                ),
                Facts::default(),
            )),
        }
    }

    pub(crate) fn of(text: &str) -> Self {
        Self(Zeroizing::new(text.to_owned()))
    }

    /// The text, `lunasec-` and a UUID: for a database, a request, an answer, and not for a log.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether the text has a token's form: `lunasec-` and a lower-case version-4 UUID.
    pub fn is_well_formed(&self) -> bool {
        is_token(&self.0)
    }
}

fn is_token(text: &str) -> bool {
    let Some(uuid) = text.strip_prefix("lunasec-") else { return false };
    uuid.len() == 36
        && uuid.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            14 => byte == b'4',
            19 => matches!(byte, b'8' | b'9' | b'a' | b'b'),
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        })
}

/// Whether a text is a token, also one that was copied carelessly: in capitals, or among spaces.
#[cfg(feature = "axum")]
pub(crate) fn looks_like_a_token(text: &str) -> bool {
    text.len() <= SHORT_BYTES && {
        let plain: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let plain = Zeroizing::new(plain.to_ascii_lowercase());
        let hex = plain.strip_prefix("lunasec").map(|rest| rest.replace('-', ""));
        hex.is_some_and(|hex| hex.len() == 32 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(TOKEN_PRINT)
    }
}

impl Hash for Token {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.expose().hash(state);
    }
}

impl PartialEq<str> for Token {
    fn eq(&self, other: &str) -> bool {
        self.expose() == other
    }
}

/// From its text; what was redacted is refused, and an error never quotes it.
impl<'de> Deserialize<'de> for Token {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Text::deserialize(deserializer)?.0;
        // What is taken out of the wrapper is wiped by the token.
        Self::from_text(text.as_str()).map_err(|error| serde::de::Error::custom(error.detail()))
    }
}

/// What stands for a token in a call: a [`Token`], or its text as a database gives it back.
pub trait TokenLike: sealed::TokenLike {}

mod sealed {
    use std::borrow::Cow;

    use super::{Error, Token};

    pub trait TokenLike {
        fn token(&self) -> Result<Cow<'_, Token>, Error>;
    }
}

pub(crate) fn token_of(like: &impl TokenLike) -> Result<Token, Error> {
    sealed::TokenLike::token(like).map(Cow::into_owned)
}

impl TokenLike for Token {}
impl sealed::TokenLike for Token {
    fn token(&self) -> Result<Cow<'_, Token>, Error> {
        Ok(Cow::Borrowed(self))
    }
}

impl TokenLike for crate::StoredToken {}
impl sealed::TokenLike for crate::StoredToken {
    fn token(&self) -> Result<Cow<'_, Token>, Error> {
        Ok(Cow::Borrowed(self))
    }
}

impl TokenLike for str {}
impl sealed::TokenLike for str {
    fn token(&self) -> Result<Cow<'_, Token>, Error> {
        Token::from_text(self).map(Cow::Owned)
    }
}

impl TokenLike for String {}
impl sealed::TokenLike for String {
    fn token(&self) -> Result<Cow<'_, Token>, Error> {
        self.as_str().token()
    }
}

impl<T: TokenLike + ?Sized> TokenLike for &T {}
impl<T: TokenLike + ?Sized> sealed::TokenLike for &T {
    fn token(&self) -> Result<Cow<'_, Token>, Error> {
        (**self).token()
    }
}

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
        Ok(Self(Inside::Text(Text::deserialize(deserializer)?.0)))
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

/// Text of an answer or of a request that may be a value: wiped when it is dropped, also where the rest of it was not
/// understood, and never quoted in an error.
pub(crate) struct Text(pub(crate) Zeroizing<String>);

impl Text {
    pub(crate) fn into_plaintext(self) -> Plaintext {
        Plaintext(Inside::Text(self.0))
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

            // What serde would say of these quotes them.
            fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<Text, E> {
                Err(E::custom("a number where text is expected"))
            }

            fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<Text, E> {
                Err(E::custom("a number where text is expected"))
            }

            fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<Text, E> {
                Err(E::custom("a number where text is expected"))
            }

            fn visit_bytes<E: serde::de::Error>(self, _: &[u8]) -> Result<Text, E> {
                Err(E::custom("bytes where text is expected"))
            }
        }

        deserializer.deserialize_string(Visitor)
    }
}

/// Bytes that are wiped when they are dropped, whatever of them was used.
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
