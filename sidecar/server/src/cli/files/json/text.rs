//! The inside of JSON strings.

use super::super::Reason;

/// Whether the inside of a string literal means `key`.
pub(super) fn is(inner: &[u8], key: &[u8]) -> bool {
    if inner.contains(&b'\\') { read(inner).is_ok_and(|text| text == key) } else { inner == key }
}

/// What the inside of a string literal means. Bytes that are not UTF-8 stay as they are.
pub(super) fn read(inner: &[u8]) -> Result<Vec<u8>, Reason> {
    let mut text = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while let Some((&byte, after)) = rest.split_first() {
        if byte != b'\\' {
            text.push(byte);
            rest = after;
            continue;
        }
        let (&escape, after) = after.split_first().ok_or(Reason::NotJson)?;
        rest = after;
        match escape {
            b'"' | b'\\' | b'/' => text.push(escape),
            b'b' => text.push(8),
            b'f' => text.push(12),
            b'n' => text.push(b'\n'),
            b'r' => text.push(b'\r'),
            b't' => text.push(b'\t'),
            b'u' => {
                let character = unicode(&mut rest)?;
                text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
            _ => return Err(Reason::NotJson),
        }
    }
    Ok(text)
}

/// What follows `\u`: four digits, or a pair of surrogates with another `\u` between them.
fn unicode(rest: &mut &[u8]) -> Result<char, Reason> {
    let first = u32::from(hex(rest)?);
    let code = match first {
        0xd800..0xdc00 => {
            *rest = rest.strip_prefix(br"\u").ok_or(Reason::LoneSurrogate)?;
            let second = u32::from(hex(rest)?);
            if !(0xdc00..0xe000).contains(&second) {
                return Err(Reason::LoneSurrogate);
            }
            0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)
        }
        _ => first,
    };
    char::from_u32(code).ok_or(Reason::LoneSurrogate)
}

fn hex(rest: &mut &[u8]) -> Result<u16, Reason> {
    let (digits, after) = rest.split_at_checked(4).ok_or(Reason::NotJson)?;
    *rest = after;
    digits.iter().try_fold(0, |number, digit| {
        let digit = char::from(*digit).to_digit(16).and_then(|digit| u16::try_from(digit).ok());
        digit.map(|digit| number << 4 | digit).ok_or(Reason::NotJson)
    })
}

/// Writes a string literal with the fewest escapes; with `ascii`, as Python's `json.dumps` does by
/// default: whatever is not printable ASCII becomes `\uxxxx`.
pub(super) fn write(text: &str, ascii: bool, out: &mut Vec<u8>) {
    out.push(b'"');
    for character in text.chars() {
        match character {
            '"' => out.extend_from_slice(br#"\""#),
            '\\' => out.extend_from_slice(br"\\"),
            '\u{8}' => out.extend_from_slice(br"\b"),
            '\u{c}' => out.extend_from_slice(br"\f"),
            '\n' => out.extend_from_slice(br"\n"),
            '\r' => out.extend_from_slice(br"\r"),
            '\t' => out.extend_from_slice(br"\t"),
            '\0'..' ' => write_units(character, out),
            '\u{7f}'.. if ascii => write_units(character, out),
            other => out.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out.push(b'"');
}

fn write_units(character: char, out: &mut Vec<u8>) {
    for unit in character.encode_utf16(&mut [0; 2]) {
        out.extend_from_slice(format!("\\u{unit:04x}").as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(text: &str, ascii: bool) -> String {
        let mut out = Vec::new();
        write(text, ascii, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn writes_ascii_as_python_does() {
        // python3 -c 'import json; print(json.dumps("é\x7f😀\x1f\n\"/"))'
        assert_eq!(
            written("é\u{7f}😀\u{1f}\n\"/", true),
            r#""\u00e9\u007f\ud83d\ude00\u001f\n\"/""#
        );
        assert_eq!(written("é\u{7f}😀", false), "\"é\u{7f}😀\"");
    }

    #[test]
    fn names_lone_surrogates_and_wrong_escapes() {
        for lone in [r"\ud800", r"\ud800x", r"\udc00", r"\ud800\u0041", r"\ud800\n"] {
            assert_eq!(read(lone.as_bytes()), Err(Reason::LoneSurrogate), "{lone}");
        }
        for wrong in [r"\x", r"\u12", r"\u+123", "\\", r"\uzzzz", r"\ud800\uzz"] {
            assert_eq!(read(wrong.as_bytes()), Err(Reason::NotJson), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_serde_json(text: String, ascii: bool) {
            let ours = written(&text, ascii);
            prop_assert_eq!(&serde_json::from_str::<String>(&ours).unwrap(), &text);
            prop_assert!(!ascii || ours.is_ascii());
            if !ascii {
                prop_assert_eq!(&ours, &serde_json::to_string(&text).unwrap());
            }
            prop_assert_eq!(read(&ours.as_bytes()[1..ours.len() - 1]).unwrap(), text.into_bytes());
        }

        #[test]
        fn reads_any_bytes_without_a_panic(inner: Vec<u8>) {
            let _ = read(&inner);
        }
    }
}
