//! Names of objects.

use std::{
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use lunasec_core::{
    audit::ChainId,
    derive::SessionTag,
    ids::{KeyId, Locator, Namespace},
    limits,
    record::Kind,
};

/// An object's name.
#[derive(Clone)]
pub struct Name {
    text: Arc<str>,
    key: Option<Key>,
    /// What kind of record should lie there, where that is known. It is no part of the name.
    kind: Option<Kind>,
}

/// The name of a record or a session in less bytes, for those who hold many. A locator and a tag are digests of
/// what they are for, namespace included, so the beginning of one stands for it: whoever could make two that begin
/// alike, which takes some 2^80 attempts, would find a record that does not open.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key([u8; Self::LEN]);

impl Key {
    const DIGEST: usize = 20;
    const LEN: usize = 1 + Self::DIGEST;

    fn new(before: &str, digest: &[u8; Locator::LEN]) -> Self {
        let mut key = [before.as_bytes()[0]; Self::LEN];
        key[1..].copy_from_slice(&digest[..Self::DIGEST]);
        Self(key)
    }

    /// Out of a name's text, if that is a record's or a session's.
    fn parse(text: &str) -> Option<Self> {
        let before = [Name::RECORDS, Name::SESSIONS].into_iter().find(|it| text.starts_with(it))?;
        let (namespace, digits) = text.strip_prefix(before)?.split_once('/')?;
        Namespace::parse(namespace).ok()?;
        Some(Self::new(before, &Locator::parse(digits)?.0))
    }
}

impl Name {
    /// Before every record.
    pub const RECORDS: &'static str = "r/";
    const RECORD_BYTES: usize =
        Self::RECORDS.len() + limits::NAMESPACE_BYTES + 1 + Locator::TEXT_LEN;
    /// Before every session's object.
    pub const SESSIONS: &'static str = "s/";
    /// Before every wrapped key.
    pub const KEYS: &'static str = "k/";
    /// Before every anchor of an audit trail.
    pub const ANCHORS: &'static str = "a/";

    /// A record's.
    pub fn record(namespace: &Namespace, locator: &Locator) -> Self {
        Self::digest(Self::RECORDS, namespace, locator)
    }

    /// A session's.
    pub fn session(namespace: &Namespace, tag: &SessionTag) -> Self {
        Self::digest(Self::SESSIONS, namespace, &Locator(tag.0))
    }

    fn digest(before: &str, namespace: &Namespace, locator: &Locator) -> Self {
        // On the way of every request, so without the machinery of formatting.
        let mut text = [0; Self::RECORD_BYTES];
        let mut length = 0;
        for part in [before.as_bytes(), namespace.as_str().as_bytes(), b"/", &locator.hex()] {
            text[length..length + part.len()].copy_from_slice(part);
            length += part.len();
        }
        let Ok(text) = str::from_utf8(&text[..length]) else {
            unreachable!("all of its parts are text")
        };
        Self { text: text.into(), key: Some(Key::new(before, &locator.0)), kind: None }
    }

    /// The same, of a record of this kind.
    pub fn of(self, kind: Kind) -> Self {
        Self { kind: Some(kind), ..self }
    }

    /// A wrapped data key's.
    pub fn key(namespace: &Namespace, id: KeyId) -> Self {
        Self::other(format!("{}{}/{id}", Self::KEYS, namespace.as_str()))
    }

    /// The wrapped index key's.
    pub fn index_key(namespace: &Namespace) -> Self {
        Self::other(format!("{}{}/index", Self::KEYS, namespace.as_str()))
    }

    /// The anchor of a line.
    pub fn anchor(chain: ChainId, seq: u64) -> Self {
        Self::other(format!("{}{chain}/{seq:020}", Self::ANCHORS))
    }

    fn other(text: String) -> Self {
        Self { text: text.into(), key: None, kind: None }
    }

    /// Before the wrapped keys of one epoch.
    pub fn epoch_prefix(namespace: &Namespace, id: KeyId) -> String {
        format!("{}{}/{:010}-", Self::KEYS, namespace.as_str(), id.epoch)
    }

    /// A name that came out of a store or a cursor.
    pub fn from_text(text: &str) -> Self {
        Self { text: text.into(), key: Key::parse(text), kind: None }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What stands behind the last slash.
    pub fn last_part(&self) -> &str {
        self.text.rsplit('/').next().unwrap_or_default()
    }

    /// The namespace that a record or key lies in.
    pub fn namespace(&self) -> Option<Namespace> {
        Namespace::parse(self.text.split('/').nth(1)?).ok()
    }

    /// What it is remembered by; none for what never is.
    pub(super) fn short(&self) -> Option<Key> {
        self.key
    }

    /// What kind of record should lie there.
    pub(super) fn kind(&self) -> Option<Kind> {
        self.kind
    }

    pub(crate) fn is_session(&self) -> bool {
        self.text.starts_with(Self::SESSIONS)
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Name {}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Name {
    fn cmp(&self, other: &Self) -> Ordering {
        self.text.cmp(&other.text)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However a name is come by, what is remembered of it is found.
    #[test]
    fn a_name_read_back_has_the_same_key() {
        let (namespace, locator) = (Namespace::default(), Locator([0xa7; 32]));
        let (record, session) =
            (Name::record(&namespace, &locator), Name::session(&namespace, &SessionTag(locator.0)));
        assert!(record.key.unwrap() != session.key.unwrap());
        for name in [record.clone(), record.of(Kind::Grant), session] {
            let again = Name::from_text(name.as_str());
            assert_eq!(again, name);
            assert!(again.key.unwrap() == name.key.unwrap(), "{name:?}");
        }
        let digits = "a7".repeat(32);
        for none in [
            "k/default/index".into(),
            format!("r/default/{}", digits.to_uppercase()),
            format!("r/Default/{digits}"),
            format!("r/{digits}"),
            format!("r/default/{digits}0"),
            format!("x/default/{digits}"),
            String::new(),
        ] {
            assert!(Name::from_text(&none).key.is_none(), "{none}");
        }
    }
}
