//! The operations on lists: what is sent and how answers are read.

use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::{
    Deleted, Error, ErrorKind, Granted, Token, Tokenized, Value, Verdict,
    limits::{BATCH_BYTES, TOKEN_LIST_BYTES},
    results::Staleness,
    wiped::Wiped,
    wire::{Item, Items, Said, misread},
};

/// What one item came to.
pub(crate) type Outcome<T> = Result<T, Error>;

/// One item of a list, as it goes into the body.
pub(crate) struct Unit {
    /// Its JSON text, which may hold a value.
    pub(crate) json: Zeroizing<String>,
    /// The token that its answer has to be about.
    pub(crate) token: Option<Token>,
}

/// One of a token.
pub(crate) fn token_unit(token: Token) -> Result<Unit, Error> {
    let json = json_of(&token.expose())?;
    Ok(Unit { json: json.into(), token: Some(token) })
}

/// JSON text; what cannot be written is the caller's to mend.
pub(crate) fn json_of<T: Serialize + ?Sized>(value: &T) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|_| {
        Error::invalid(
            "the metadata is no JSON: it has keys that are no text, or fails to serialize",
        )
    })
}

/// An operation on a list of items.
pub(crate) struct Operation<T> {
    pub(crate) batch_uri: &'static str,
    /// Of the body.
    pub(crate) bytes: usize,
    /// The body's text before the items. Lists that differ in it are not the same call.
    pub(crate) before: Arc<str>,
    /// The route of an item that is alone, if there is one, and what is around the item there.
    pub(crate) alone: Option<(&'static str, &'static str, &'static str)>,
    /// Keyed by the client, and so sent again as a whole: an item is known by its place. Otherwise only what failed is.
    pub(crate) keyed: bool,
    read: fn(Item, &Unit, Option<&Staleness>) -> Result<T, Error>,
}

impl<T> Clone for Operation<T> {
    fn clone(&self) -> Self {
        Self { before: Arc::clone(&self.before), ..*self }
    }
}

const AFTER: &str = "]}";

impl<T> Operation<T> {
    /// Bytes around the items.
    pub(crate) fn overhead(&self) -> usize {
        self.before.len() + AFTER.len()
    }

    pub(crate) fn batch_body(&self, units: &[&Unit]) -> Bytes {
        let items: usize = units.iter().map(|unit| unit.json.len() + 1).sum();
        let mut body = Vec::with_capacity(self.overhead() + items);
        body.extend_from_slice(self.before.as_bytes());
        for (index, unit) in units.iter().enumerate() {
            if index > 0 {
                body.push(b',');
            }
            body.extend_from_slice(unit.json.as_bytes());
        }
        body.extend_from_slice(AFTER.as_bytes());
        Bytes::from_owner(Wiped(body))
    }

    /// Where an item goes that is alone, and its body.
    pub(crate) fn alone(&self, unit: &Unit) -> Option<(&'static str, Bytes)> {
        let (uri, before, after) = self.alone?;
        let body = [before, &unit.json, after].concat().into_bytes();
        Some((uri, Bytes::from_owner(Wiped(body))))
    }

    pub(crate) fn read_alone(&self, said: Said<Item>, unit: &Unit) -> Result<T, Error> {
        (self.read)(said.body, unit, said.staleness.as_ref())
    }

    /// What each item came to: never somebody else's value for a token.
    pub(crate) fn read_batch(
        &self,
        said: Said<Items>,
        units: &[&Unit],
    ) -> Result<Vec<Outcome<T>>, Error> {
        let Said { body, staleness } = said;
        if body.items.len() != units.len() {
            return Err(misread("it has another number of items than the request"));
        }
        let items = body.items.into_iter().zip(units);
        items.map(|(item, unit)| self.read_item(item, unit, staleness.as_ref())).collect()
    }

    fn read_item(
        &self,
        mut item: Item,
        unit: &Unit,
        staleness: Option<&Staleness>,
    ) -> Result<Outcome<T>, Error> {
        let about = item.token.as_ref().map(|token| token.0.as_str());
        if unit.token.as_ref().is_some_and(|token| about != Some(token.expose())) {
            return Err(misread("an item is about another token than the request"));
        }
        match item.error.take() {
            Some(error) => Ok(Err(error.into_error())),
            None => (self.read)(item, unit, staleness).map(Ok),
        }
    }

    /// Whether an item only found no room in the answer: alone it would.
    pub(crate) fn found_no_room(&self, outcome: &Outcome<T>) -> bool {
        self.batch_uri == DETOKENIZE_BATCH
            && outcome.as_ref().is_err_and(|error| error.kind() == ErrorKind::PayloadTooLarge)
    }
}

fn token_in(unit: &Unit) -> Result<Token, Error> {
    unit.token.clone().ok_or_else(|| misread("an item is about no token"))
}

const DETOKENIZE_BATCH: &str = "http://localhost/v1/detokenize:batch";

pub(crate) fn tokenize() -> Operation<Tokenized> {
    Operation {
        batch_uri: "http://localhost/v1/tokenize:batch",
        bytes: BATCH_BYTES,
        before: "{\"items\":[".into(),
        alone: Some(("http://localhost/v1/tokenize", "", "")),
        keyed: true,
        read: |item, _, _| {
            let durability = item.durability()?;
            let token = item.token.ok_or_else(|| misread("token is no text"))?;
            Ok(Tokenized { token: Token::of(&token.0), durability })
        },
    }
}

pub(crate) fn detokenize() -> Operation<Value> {
    Operation {
        batch_uri: DETOKENIZE_BATCH,
        bytes: TOKEN_LIST_BYTES,
        before: "{\"tokens\":[".into(),
        alone: Some(("http://localhost/v1/detokenize", "{\"token\":", "}")),
        keyed: false,
        read: |mut item, unit, head| {
            let staleness = item.staleness(head);
            Ok(Value { token: token_in(unit)?, plaintext: item.plaintext()?, staleness })
        },
    }
}

pub(crate) fn delete() -> Operation<Deleted> {
    Operation {
        batch_uri: "http://localhost/v1/delete",
        bytes: TOKEN_LIST_BYTES,
        before: "{\"tokens\":[".into(),
        alone: None,
        keyed: false,
        read: |item, unit, _| {
            Ok(Deleted { token: token_in(unit)?, durability: item.durability()? })
        },
    }
}

/// The members of a body before its list of tokens.
fn frame(members: &impl Serialize) -> Result<Arc<str>, Error> {
    let mut text = json_of(members)?;
    text.pop();
    Ok(format!("{text},\"tokens\":[").into())
}

pub(crate) fn grant(
    session: &str,
    expires_in: Option<&str>,
    actions: Option<&[&str]>,
) -> Result<Operation<Granted>, Error> {
    #[derive(Serialize)]
    struct Members<'a> {
        session: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        expires_in: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        actions: Option<&'a [&'a str]>,
    }
    Ok(Operation {
        batch_uri: "http://localhost/v1/grants/create",
        bytes: TOKEN_LIST_BYTES,
        before: frame(&Members { session, expires_in, actions })?,
        alone: None,
        keyed: false,
        read: |item, unit, _| {
            let (expires_at, durability) = (item.expires_at()?, item.durability()?);
            Ok(Granted { token: token_in(unit)?, expires_at, durability })
        },
    })
}

pub(crate) fn verify(session: &str, action: Option<&str>) -> Result<Operation<Verdict>, Error> {
    #[derive(Serialize)]
    struct Members<'a> {
        session: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        action: Option<&'a str>,
    }
    Ok(Operation {
        batch_uri: "http://localhost/v1/grants/verify",
        bytes: TOKEN_LIST_BYTES,
        before: frame(&Members { session, action })?,
        alone: None,
        keyed: false,
        read: read_verdict,
    })
}

fn read_verdict(mut item: Item, unit: &Unit, head: Option<&Staleness>) -> Result<Verdict, Error> {
    let (token, staleness) = (token_in(unit)?, item.staleness(head));
    match item.valid {
        Some(true) => Ok(Verdict::Valid { token, expires_at: item.expires_at()?, staleness }),
        Some(false) => Ok(Verdict::Invalid { token, reason: item.reason()?, staleness }),
        None => Err(misread("valid is neither true nor false")),
    }
}
