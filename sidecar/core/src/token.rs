//! The token: `lunasec-` and a version-4 UUID (RFC 9562), lower case, hyphenated; 44 characters,
//! 122 random bits.
//!
//! A token is a bearer secret and, with the data key, the source of its record's key. It is never
//! stored, logged or compared in variable time, and prints as `lunasec-…`.

use std::fmt;

use subtle::{Choice, ConstantTimeEq};
use thiserror::Error;
use zeroize::{Zeroize, ZeroizeOnDrop};

const PREFIX: &[u8; 8] = b"lunasec-";
/// Where a UUID's text has its hyphens.
const HYPHENS: [usize; 4] = [8, 13, 18, 23];
/// Where it has the two digits of each byte.
const PAIRS: [usize; Token::LEN] = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];

/// The text is not a token. It does not say which text: that could be a value.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
#[error("not a token: expected lunasec- followed by a lower-case version-4 UUID")]
pub struct InvalidToken;

/// The 16 bytes behind a token.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Token([u8; Token::LEN]);

impl Token {
    /// Bytes of a token.
    pub const LEN: usize = 16;
    /// Characters of a token's text.
    pub const TEXT_LEN: usize = 44;

    /// Makes a token of 16 random bytes; six of their bits become the UUID's version and variant.
    pub fn from_random(mut bytes: [u8; Self::LEN]) -> Self {
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        let token = Self(bytes);
        bytes.zeroize();
        token
    }

    /// Parses the text form, strictly: anything but what [`Token::expose_text`] gives is refused.
    pub fn parse(text: &str) -> Result<Self, InvalidToken> {
        let uuid = text.as_bytes().strip_prefix(PREFIX).ok_or(InvalidToken)?;
        if uuid.len() != Self::TEXT_LEN - PREFIX.len() {
            return Err(InvalidToken);
        }
        if HYPHENS.iter().any(|&at| uuid[at] != b'-') {
            return Err(InvalidToken);
        }
        let mut token = Self([0; Self::LEN]);
        let mut wrong = 0;
        for (byte, &at) in token.0.iter_mut().zip(&PAIRS) {
            let (high, low) = (nibble(uuid[at]), nibble(uuid[at + 1]));
            // Only 0xff has these bits: it is what `nibble` says of everything but a digit.
            wrong |= (high | low) & 0xf0;
            *byte = (high << 4) | (low & 0x0f);
        }
        if wrong != 0 {
            return Err(InvalidToken);
        }
        let [version, variant] = [token.0[6] >> 4, token.0[8] >> 6];
        if version != 4 || variant != 0b10 { Err(InvalidToken) } else { Ok(token) }
    }

    /// Whether a text holds one, wherever it stands and however it is written: in capitals, with other separators or none.
    pub fn is_within(text: &str) -> bool {
        const NAME: &[u8] = b"lunasec";
        let letters = text.bytes().filter(u8::is_ascii_alphanumeric);
        let letters: Vec<u8> = letters.map(|letter| letter.to_ascii_lowercase()).collect();
        letters.windows(NAME.len() + 2 * Self::LEN).any(|window| {
            let digits = window.strip_prefix(NAME);
            digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
        })
    }

    /// The text form, for the answer only.
    pub fn expose_text(&self) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [b'-'; Self::TEXT_LEN];
        let (prefix, uuid) = text.split_at_mut(PREFIX.len());
        prefix.copy_from_slice(PREFIX);
        for (byte, &at) in self.0.iter().zip(&PAIRS) {
            uuid[at] = DIGITS[usize::from(byte >> 4)];
            uuid[at + 1] = DIGITS[usize::from(byte & 15)];
        }
        let Ok(exposed) = str::from_utf8(&text).map(str::to_owned) else {
            unreachable!("digits and hyphens are always text")
        };
        text.zeroize();
        exposed
    }

    /// The bytes, for derivations only.
    pub fn expose(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

/// The value of a lower-case hexadecimal digit; 0xff for everything else.
fn nibble(character: u8) -> u8 {
    match character {
        b'0'..=b'9' => character - b'0',
        b'a'..=b'f' => character - b'a' + 10,
        _ => 0xff,
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("lunasec-…")
    }
}

impl ConstantTimeEq for Token {
    fn ct_eq(&self, other: &Self) -> Choice {
        self.0.ct_eq(&other.0)
    }
}

impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        self.ct_eq(other).into()
    }
}

impl Eq for Token {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "lunasec-00112233-4455-4677-8899-aabbccddeeff";

    #[test]
    fn reads_and_writes_the_text_form() {
        let token = Token::parse(TEXT).unwrap();
        assert_eq!(token.expose()[..4], [0x00, 0x11, 0x22, 0x33]);
        assert_eq!(token.expose_text(), TEXT);
        assert_eq!(format!("{token:?}"), "lunasec-…");
    }

    #[test]
    fn is_found_within_a_text_however_it_is_written() {
        let digits = "00112233445546778899aabbccddeeff";
        for text in [
            TEXT.to_owned(),
            format!("for {TEXT}, please"),
            TEXT.to_uppercase(),
            format!("Lunasec {digits}"),
            format!("lunasec{digits}0"),
            TEXT.replace('-', "\u{2011}"),
            format!("lunasec: {}", digits.chars().map(|c| format!("{c} ")).collect::<String>()),
        ] {
            assert!(Token::is_within(&text), "{text}");
        }
        // A ticket's own UUID is none, nor is less than all of one.
        for text in
            ["", "lunasec", &TEXT["lunasec-".len()..], &TEXT[..TEXT.len() - 1], "lunasec-g0112"]
        {
            assert!(!Token::is_within(text), "{text}");
        }
    }

    #[test]
    fn refuses_whatever_is_not_exactly_a_token() {
        let wrong = [
            "",
            "lunasec-",
            "00112233-4455-4677-8899-aabbccddeeff",
            "LUNASEC-00112233-4455-4677-8899-aabbccddeeff",
            "lunasec-00112233-4455-4677-8899-AABBCCDDEEFF",
            "lunasec-00112233445546778899aabbccddeeff",
            "lunasec-00112233-4455-1677-8899-aabbccddeeff",
            "lunasec-00112233-4455-4677-c899-aabbccddeeff",
            "lunasec-00112233-4455-4677-0899-aabbccddeeff",
            "lunasec-00112233-4455-4677-8899-aabbccddeef",
            "lunasec-00112233-4455-4677-8899-aabbccddeeff ",
            " lunasec-00112233-4455-4677-8899-aabbccddeeff",
            "lunasec-00112233-4455-4677-8899-aabbccddeefg",
            "lunasec-0011223304455-4677-8899-aabbccddeeff",
            "lunasec-00112233-4455-4677-8899-aabbccddeef\u{e9}",
            "lunasec-{0112233-4455-4677-8899-aabbccddeef}",
        ];
        for text in wrong {
            assert_eq!(Token::parse(text), Err(InvalidToken), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_random_token_survives_its_text(bytes: [u8; 16]) {
            let token = Token::from_random(bytes);
            prop_assert!(Token::parse(&token.expose_text()) == Ok(token));
        }

        #[test]
        fn parsing_never_panics_and_accepts_only_what_it_would_write(text: String) {
            if let Ok(token) = Token::parse(&text) {
                prop_assert_eq!(token.expose_text(), text);
            }
        }

        #[test]
        fn one_changed_character_is_refused_or_another_token(at in 0..44usize, to in 0u8..128) {
            let mut text = TEXT.as_bytes().to_vec();
            prop_assume!(text[at] != to);
            text[at] = to;
            let changed = Token::parse(std::str::from_utf8(&text).unwrap());
            prop_assert!(changed != Token::parse(TEXT));
        }
    }
}
