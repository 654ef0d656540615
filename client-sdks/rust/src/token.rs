use std::{
    fmt,
    hash::{Hash, Hasher},
};

use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

use crate::{
    Error, ErrorKind,
    error::Facts,
    prints::{Print, TOKEN_PRINT, printed_as},
    wiped::Text,
};

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
    if text.len() > crate::limits::SHORT_BYTES {
        return false;
    }
    let plain = text.chars().filter(char::is_ascii_graphic).collect::<String>();
    let plain = Zeroizing::new(plain.to_ascii_lowercase());
    let hex = plain.strip_prefix("lunasec").map(|rest| Zeroizing::new(rest.replace('-', "")));
    hex.is_some_and(|hex| hex.len() == 32 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
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
