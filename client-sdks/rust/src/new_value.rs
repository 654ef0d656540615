use std::{fmt, time::Duration};

use serde::Serialize;

use crate::{
    Error, Plaintext,
    operation::{Unit, json_of},
    prints::refuse_prints,
};

/// A value to tokenize, and what goes with it. Text, bytes and a [`Plaintext`] are ones without more.
///
/// ```
/// # use std::time::Duration;
/// # use lunasec_client::NewValue;
/// let scan = NewValue::from([0x89, 0x50].as_slice())
///     .metadata(serde_json::json!({ "kind": "passport" }))
///     .expires_in(Duration::from_secs(30 * 24 * 60 * 60))
///     .idempotency_key("order-4711");
/// ```
#[derive(Clone)]
pub struct NewValue {
    value: Given,
    metadata: Option<Result<String, Error>>,
    expires_in: Option<Lifetime>,
    pub(crate) idempotency_key: Option<String>,
}

#[derive(Clone)]
enum Given {
    Plaintext(Plaintext),
    Base64(Plaintext),
}

impl NewValue {
    /// A value of bytes that is given as their base64 text.
    pub fn from_base64(text: impl Into<String>) -> Self {
        Self::of(Given::Base64(Plaintext::from(text.into())))
    }

    fn of(value: Given) -> Self {
        Self { value, metadata: None, expires_in: None, idempotency_key: None }
    }

    /// A JSON object of at most 16 KiB, kept in the clear beside the value, encrypted at rest.
    #[must_use]
    pub fn metadata(mut self, metadata: impl Serialize) -> Self {
        self.metadata = Some(metadata_json(&metadata));
        self
    }

    /// For how long; for ever unless said.
    #[must_use]
    pub fn expires_in(mut self, lifetime: impl Into<Lifetime>) -> Self {
        self.expires_in = Some(lifetime.into());
        self
    }

    /// 1 to 255 visible ASCII characters that name this value for 24 hours: the same key with the same value gives the
    /// same token, also from another process beside the same sidecar. Unless given, the client makes one for each call,
    /// so that its own retries give one token.
    #[must_use]
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }

    pub(crate) fn unit(&self) -> Result<Unit, Error> {
        let (plaintext, encoded) = match &self.value {
            Given::Plaintext(plaintext) => (plaintext, plaintext.text().is_none()),
            Given::Base64(text) => (text, true),
        };
        plaintext.refuse_stand_ins()?;
        let mut json = String::with_capacity(plaintext.reveal_bytes().len() * 4 / 3 + 64);
        json.push_str("{\"value\":");
        match plaintext.text() {
            Some(text) => push_json(&mut json, text)?,
            None => push_base64(&mut json, plaintext.reveal_bytes()),
        }
        if encoded {
            json.push_str(",\"encoding\":\"base64\"");
        }
        if let Some(metadata) = &self.metadata {
            json.push_str(",\"metadata\":");
            json.push_str(metadata.as_ref().map_err(Clone::clone)?);
        }
        if let Some(Lifetime(text)) = &self.expires_in {
            json.push_str(",\"expires_in\":");
            push_json(&mut json, text)?;
        }
        json.push('}');
        Ok(Unit { json: json.into(), token: None })
    }
}

fn push_json(json: &mut String, text: &str) -> Result<(), Error> {
    json.push_str(&zeroize::Zeroizing::new(json_of(text)?));
    Ok(())
}

fn push_base64(json: &mut String, bytes: &[u8]) {
    use base64::{Engine, engine::general_purpose::STANDARD};
    json.push('"');
    STANDARD.encode_string(bytes, json);
    json.push('"');
}

/// The text of what is to be a JSON object; whether it is one is the sidecar's to say.
pub(crate) fn metadata_json(metadata: &impl Serialize) -> Result<String, Error> {
    let text = json_of(metadata)?;
    refuse_prints(&text)?;
    Ok(text)
}

impl<V: Into<Plaintext>> From<V> for NewValue {
    fn from(value: V) -> Self {
        Self::of(Given::Plaintext(value.into()))
    }
}

impl fmt::Debug for NewValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NewValue(…)")
    }
}

/// For how long: a [`Duration`], or words such as `"720h"` or `"15m"`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lifetime(pub(crate) String);

impl From<Duration> for Lifetime {
    fn from(time: Duration) -> Self {
        Self(format!("{}ms", time.as_millis()))
    }
}

impl From<&str> for Lifetime {
    fn from(words: &str) -> Self {
        Self(words.to_owned())
    }
}

impl From<String> for Lifetime {
    fn from(words: String) -> Self {
        Self(words)
    }
}
