//! Which write of an object was read.

use std::{borrow::Cow, sync::Arc};

use lunasec_api::Durability;

/// Opaque: equal only for the same write of an object, or for another write of the very same bytes,
/// which sealed bytes never are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Version(pub(crate) Mark);

/// As the store gives it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Mark {
    Number(u64),
    /// An ETag of 32 lower-case hexadecimal digits in quotes, as S3 gives it, in half of its bytes.
    Digest([u8; 16]),
    /// Any other.
    Tag(Arc<str>),
    /// Of an entry that waits in the journal.
    Entry(u64),
}

impl Version {
    /// Where an object of this version is safe.
    pub fn durability(&self) -> Durability {
        match self.0 {
            Mark::Entry(_) => Durability::Journaled,
            Mark::Number(_) | Mark::Digest(_) | Mark::Tag(_) => Durability::Stored,
        }
    }

    pub(super) fn number(number: u64) -> Self {
        Self(Mark::Number(number))
    }

    /// An ETag.
    pub fn tag(tag: &str) -> Self {
        Self(digest(tag).map_or_else(|| Mark::Tag(tag.into()), Mark::Digest))
    }

    /// The tag, if it is one: another store's version is no version here.
    pub(super) fn as_tag(&self) -> Option<Cow<'_, str>> {
        match &self.0 {
            Mark::Tag(tag) => Some(Cow::Borrowed(tag)),
            Mark::Digest(digest) => {
                Some(format!("\"{:032x}\"", u128::from_be_bytes(*digest)).into())
            }
            Mark::Number(_) | Mark::Entry(_) => None,
        }
    }

    /// Before an object, in one piece with it; see [`Version::split`].
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match &self.0 {
            Mark::Number(number) => {
                out.push(NUMBER);
                out.extend_from_slice(&number.to_be_bytes());
            }
            Mark::Entry(number) => {
                out.push(ENTRY);
                out.extend_from_slice(&number.to_be_bytes());
            }
            Mark::Digest(digest) => {
                out.push(DIGEST);
                out.extend_from_slice(digest);
            }
            Mark::Tag(tag) => {
                out.push(TAG);
                // What HTTP carries in a head is far shorter than 4 GiB.
                out.extend_from_slice(&(tag.len() as u32).to_be_bytes());
                out.extend_from_slice(tag.as_bytes());
            }
        }
    }

    /// Reads what `write` wrote: the version, and the bytes that it takes.
    pub(crate) fn split(piece: &[u8]) -> Option<(Self, usize)> {
        let (kind, rest) = piece.split_first()?;
        let (mark, length) = match *kind {
            NUMBER => (Mark::Number(u64::from_be_bytes(*rest.first_chunk()?)), 8),
            ENTRY => (Mark::Entry(u64::from_be_bytes(*rest.first_chunk()?)), 8),
            DIGEST => (Mark::Digest(*rest.first_chunk()?), 16),
            _ => {
                let (length, rest) = rest.split_first_chunk()?;
                let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
                (Mark::Tag(str::from_utf8(rest.get(..length)?).ok()?.into()), 4 + length)
            }
        };
        Some((Self(mark), 1 + length))
    }
}

const NUMBER: u8 = 0;
const DIGEST: u8 = 1;
const TAG: u8 = 2;
const ENTRY: u8 = 3;

fn digest(tag: &str) -> Option<[u8; 16]> {
    let digits = tag.strip_prefix('"')?.strip_suffix('"')?;
    let is_digit = |c: u8| matches!(c, b'0'..=b'9' | b'a'..=b'f');
    if digits.len() != 32 || !digits.bytes().all(is_digit) {
        return None;
    }
    Some(u128::from_str_radix(digits, 16).ok()?.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A store takes back what it gave, to the letter.
    #[test]
    fn tags_are_what_they_were() {
        for tag in [
            "\"0123456789abcdef0123456789abcdef\"",
            "\"00000000000000000000000000000000\"",
            "\"0123456789ABCDEF0123456789abcdef\"",
            "\"+123456789abcdef0123456789abcdef\"",
            "0123456789abcdef0123456789abcdef",
            "\"0123456789abcdef0123456789abcdef-2\"",
            "W/\"x\"",
            "",
        ] {
            let version = Version::tag(tag);
            assert_eq!(version.as_tag().as_deref(), Some(tag));
            assert_eq!(version, Version::tag(tag));
        }
        assert_eq!(Version::number(7).as_tag(), None);
    }

    #[test]
    fn a_version_is_split_from_what_follows() {
        for version in
            [Version::number(7), Version::tag(&format!("\"{:032x}\"", 7)), Version::tag("x")]
        {
            let mut piece = Vec::new();
            version.write(&mut piece);
            let length = piece.len();
            piece.extend_from_slice(b"record");
            assert_eq!(Version::split(&piece), Some((version, length)));
        }
        for torn in [&[][..], &[NUMBER, 1], &[DIGEST; 16], &[TAG, 0, 0, 0, 2, b'x']] {
            assert_eq!(Version::split(torn), None);
        }
    }
}
