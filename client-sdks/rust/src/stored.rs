use std::{fmt, ops::Deref};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{Error, ErrorKind, Token, error::Facts};

/// A token in what is stored or sent: serde writes it as its text, and reads nothing but a token's text. A value that is
/// where a token belongs is refused, and no error quotes it.
///
/// ```
/// # use lunasec_client::StoredToken;
/// #[derive(serde::Serialize, serde::Deserialize, Debug)]
/// struct Customer {
///     name: StoredToken,
/// }
///
/// let customer: Customer =
///     serde_json::from_str(r#"{"name":"lunasec-6ba7b810-9dad-41d1-80b4-00c04fd430c8"}"#)?;
/// assert!(serde_json::to_string(&customer)?.contains("lunasec-6ba7b810"));
/// assert!(!format!("{customer:?}").contains("6ba7b810"));
/// assert!(serde_json::from_str::<Customer>(r#"{"name":"Ada"}"#).is_err());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct StoredToken(Token);

impl StoredToken {
    /// The token itself.
    pub fn into_token(self) -> Token {
        self.0
    }
}

impl Deref for StoredToken {
    type Target = Token;

    fn deref(&self) -> &Token {
        &self.0
    }
}

impl fmt::Debug for StoredToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<Token> for StoredToken {
    fn from(token: Token) -> Self {
        Self(token)
    }
}

/// From its text.
impl TryFrom<&str> for StoredToken {
    type Error = Error;

    fn try_from(text: &str) -> Result<Self, Error> {
        let token = Token::from_text(text)?;
        if token.is_well_formed() {
            Ok(Self(token))
        } else {
            let words = "a token is lunasec- and a UUID, and this is none: where a value was stored instead, tokenize it";
            Err(Error::new(ErrorKind::InvalidToken, words, Facts::default()))
        }
    }
}

impl Serialize for StoredToken {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.expose())
    }
}

impl<'de> Deserialize<'de> for StoredToken {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let token = Token::deserialize(deserializer)?;
        Self::try_from(token.expose()).map_err(|error| de::Error::custom(error.detail()))
    }
}

/// For a field of type [`Token`] that serde is to write as its text: `#[serde(with = "lunasec_client::exposed")]`.
pub mod exposed {
    use super::{Deserialize, Deserializer, Serializer, StoredToken, Token};

    /// Writes the text.
    pub fn serialize<S: Serializer>(token: &Token, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(token.expose())
    }

    /// Reads nothing but a token's text.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Token, D::Error> {
        StoredToken::deserialize(deserializer).map(StoredToken::into_token)
    }
}
