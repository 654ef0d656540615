//! The forms of names, those that AWS gives or takes and our own: checked here, so that a slip is a
//! mistake in the configuration and not an outage.

use std::{collections::BTreeMap, net::Ipv4Addr};

use hyper::Uri;
use lunasec_core::ids::{InvalidNamespace, Namespace};

use super::kinds::{Refusal, items, noted, refuse};

/// What a name looks like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Form {
    /// A bucket's name.
    Bucket,
    /// What names of objects begin with.
    Prefix,
    /// A region's name.
    Region,
    /// A URL without a path.
    Endpoint,
    /// A KMS key's id or ARN, or an alias.
    KeyId,
    /// A namespace.
    Namespace,
    /// A client.
    Client,
    /// Any words of one line.
    Words,
    /// What a JWT's claim says, or is called.
    Claimed,
    /// Where an issuer's keys are.
    Jwks,
}

impl Form {
    /// The same as a regular expression; a bound on the text, not its whole meaning.
    pub(super) fn pattern(self) -> &'static str {
        match self {
            Self::Bucket => "^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$",
            Self::Prefix => r"^([A-Za-z0-9!_.*'()-][A-Za-z0-9!_.*'()/-]*/)?$",
            Self::Region => "^[a-z0-9-]{1,63}$",
            Self::Endpoint => r"^https?://[^/?#@\s]+/?$",
            Self::KeyId => "^[A-Za-z0-9:/_-]{1,256}$",
            Self::Namespace => "^[a-z0-9][a-z0-9-]{0,62}$",
            Self::Client => "^[a-z0-9-]{1,63}$",
            Self::Words => r"^[^\x00-\x1f\x7f-\x9f]{1,100}$",
            Self::Claimed => r"^[^\x00-\x1f\x7f-\x9f]{1,255}$",
            Self::Jwks => r"^(https?://[^/?#@\s]+([/?][^#\s]*)?|[^:\x00]+)$",
        }
    }

    /// Takes a name of this form.
    pub(super) fn read(self, text: &str) -> Result<String, Refusal> {
        match self {
            Self::Bucket => bucket(text),
            Self::Prefix => prefix(text),
            Self::Region => region(text),
            Self::Endpoint => endpoint(text),
            Self::KeyId => key_id(text),
            Self::Namespace => namespace(text),
            Self::Client => client(text),
            Self::Words => one_line(text, 100, ": 1 to 100 characters"),
            Self::Claimed => one_line(text, 255, ": 1 to 255 characters"),
            Self::Jwks => jwks(text),
        }
        .map(|()| text.trim_end_matches(if self == Self::Endpoint { "/" } else { "\0" }).to_owned())
    }
}

fn bucket(text: &str) -> Result<(), Refusal> {
    let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'.' || c == b'-';
    let ends = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let bytes = text.as_bytes();
    let good = (3..=63).contains(&bytes.len())
        && bytes.iter().all(|&c| plain(c))
        && [bytes.first(), bytes.last()].into_iter().flatten().all(|&c| ends(c));
    if good { Ok(()) } else { noted("is not a bucket's name", ": 3 to 63 of a-z, 0-9, . and -") }
}

fn prefix(text: &str) -> Result<(), Refusal> {
    let plain = |c: u8| c.is_ascii_alphanumeric() || b"!_.*'()/-".contains(&c);
    if text.is_empty() {
        return Ok(());
    }
    if text.len() > 512 || !text.bytes().all(plain) || text.starts_with('/') {
        return noted("cannot begin an object's name", ": letters, digits and !_.*'()-");
    }
    if !text.ends_with('/') {
        let (why, value) = ("does not end with a slash".into(), Some(format!("{text}/")));
        return Err(Refusal { why, value, note: "" });
    }
    Ok(())
}

fn region(text: &str) -> Result<(), Refusal> {
    let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    if (1..=63).contains(&text.len()) && text.bytes().all(plain) {
        return Ok(());
    }
    noted("is not a region's name", ", as in the AWS console")
}

fn endpoint(text: &str) -> Result<(), Refusal> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return refuse("is not a URL");
    };
    let host = rest.strip_suffix('/').unwrap_or(rest);
    secure(scheme, host, "whoever is on the way could read data keys")
}

/// A host, and the scheme that is fit to reach it.
fn secure(scheme: &str, host: &str, else_what: &str) -> Result<(), Refusal> {
    let odd = |c: char| "/?#@\\".contains(c) || c.is_whitespace() || c.is_control();
    if host.is_empty() || host.contains(odd) {
        return refuse("is not just a host and a port");
    }
    match scheme {
        "https" => Ok(()),
        "http" if is_loopback(host) => Ok(()),
        "http" => noted(
            &format!("has no TLS and is not a loopback address: {else_what}"),
            ", or use https",
        ),
        _ => refuse("is neither http nor https"),
    }
}

/// Whether a host, with a port or without, can only be this machine.
fn is_loopback(host: &str) -> bool {
    if let Some(rest) = host.strip_prefix("[::1]") {
        return rest.is_empty() || is_port(rest);
    }
    let (name, port) = host.find(':').map_or((host, ""), |at| host.split_at(at));
    let local = name == "localhost" || name.parse().is_ok_and(|ip: Ipv4Addr| ip.is_loopback());
    local && (port.is_empty() || is_port(port))
}

fn is_port(text: &str) -> bool {
    text.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok())
}

fn key_id(text: &str) -> Result<(), Refusal> {
    let plain = |c: u8| c.is_ascii_alphanumeric() || b":/_-".contains(&c);
    if (1..=256).contains(&text.len()) && text.bytes().all(plain) {
        return Ok(());
    }
    noted("is not a KMS key", ", an alias as alias/name, a key's id, or an ARN")
}

fn namespace(text: &str) -> Result<(), Refusal> {
    match Namespace::parse(text) {
        Ok(_) => Ok(()),
        Err(InvalidNamespace) => noted(
            "is no namespace",
            ": 1 to 63 characters of a-z, 0-9 and -, the first a letter or digit",
        ),
    }
}

fn client(text: &str) -> Result<(), Refusal> {
    let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    if (1..=63).contains(&text.len()) && text.bytes().all(plain) {
        return Ok(());
    }
    noted("is not a client's name", ": 1 to 63 of a-z, 0-9 and -")
}

fn one_line(text: &str, most: usize, note: &'static str) -> Result<(), Refusal> {
    if (1..=most).contains(&text.chars().count()) && !text.contains(char::is_control) {
        return Ok(());
    }
    noted("is not one line of text", note)
}

/// A URL, or a file.
fn jwks(text: &str) -> Result<(), Refusal> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return match text {
            "" => refuse("is empty"),
            text if text.contains([':', '\0']) => refuse("is neither a URL nor a path"),
            _ => Ok(()),
        };
    };
    let host = rest.split(['/', '?']).next().unwrap_or_default();
    if text.contains('#') || text.parse::<Uri>().is_err() {
        return refuse("is not a URL that can be read");
    }
    secure(scheme, host, "whoever is on the way could put keys there")
}

/// `namespace=key`, with commas between them.
pub(super) fn key_ids_by_namespace(text: &str) -> Result<BTreeMap<String, String>, Refusal> {
    let mut keys = BTreeMap::new();
    for pair in items(text) {
        let Some((namespace, key)) = pair.split_once('=') else {
            return refuse("has a namespace without a key");
        };
        let (namespace, key) = (namespace.trim(), key.trim());
        if let Err(error) = Namespace::parse(namespace) {
            return refuse(format!("has a name that is none: {error}"));
        }
        if keys.insert(namespace.to_owned(), Form::KeyId.read(key)?).is_some() {
            return refuse("has one namespace twice");
        }
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good(form: Form, texts: &[&str]) {
        for text in texts {
            assert!(form.read(text).is_ok(), "{form:?} {text:?}");
        }
    }

    fn bad(form: Form, texts: &[&str]) {
        for text in texts {
            assert!(form.read(text).is_err(), "{form:?} {text:?}");
        }
    }

    #[test]
    fn names_of_aws() {
        good(Form::Bucket, &["lunasec", "a.b-c", "123", &"b".repeat(63)]);
        bad(Form::Bucket, &["", "ab", "Lunasec", "-ab", "ab-", "a_b", "a/b", &"b".repeat(64)]);
        good(Form::Prefix, &["", "a/", "a/b-c_d/", "(x)/"]);
        bad(Form::Prefix, &["a", "/", "/a/", "a b/", "é/", &("p".repeat(512) + "/")]);
        good(Form::Region, &["eu-central-1", "us-gov-east-1"]);
        bad(Form::Region, &["", "EU", "eu central", &"r".repeat(64)]);
        good(
            Form::KeyId,
            &["alias/a", "1234abcd-12ab-34cd-56ef-1234567890ab", "arn:aws:kms:r:1:key/x", "mrk-1"],
        );
        bad(Form::KeyId, &["", "alias a", "a,b", "key?", &"k".repeat(257)]);
    }

    #[test]
    fn names_of_our_own() {
        good(Form::Namespace, &["default", "eu-1", &"n".repeat(63)]);
        bad(Form::Namespace, &["", "*", "-a", "Shop", "a b", &"n".repeat(64)]);
        good(Form::Client, &["shop", "-", "9", &"c".repeat(63)]);
        bad(Form::Client, &["", "own user", "Shop", "a_b", "é", &"c".repeat(64)]);
        good(Form::Words, &["own user", "é: it works", &"é".repeat(100)]);
        bad(Form::Words, &["", "a\nb", "\u{1b}[2J", &"w".repeat(101)]);
    }

    #[test]
    fn without_tls_only_this_machine_is_spoken_to() {
        good(
            Form::Endpoint,
            &[
                "https://s3.example.com",
                "https://10.0.0.1:9000/",
                "http://127.0.0.1:4566",
                "http://127.9.9.9",
                "http://localhost:4566/",
                "http://[::1]:4566",
                "http://[::1]",
            ],
        );
        bad(
            Form::Endpoint,
            &[
                "",
                "127.0.0.1:4566",
                "ftp://127.0.0.1",
                "http://10.0.0.1:9000",
                "http://169.254.169.254",
                "http://s3.example.com",
                "http://localhost.example.com",
                "http://127.0.0.1.example.com",
                "http://127.0.0.1@example.com",
                "http://127.0.0.1:4566:1",
                "http://127.0.0.1:99999",
                "http://[::1]x",
                "http://0x7f.1",
                "https://",
                "https://a/b",
                "https://a?b",
                "https://user@a",
            ],
        );
        assert_eq!(Form::Endpoint.read("http://[::1]:1/").as_deref(), Ok("http://[::1]:1"));
    }

    #[test]
    fn places_of_keys() {
        good(
            Form::Jwks,
            &[
                "https://id.example.com/jwks.json",
                "https://id.example.com",
                "https://id.example.com:8443/a/b?c=d",
                "http://127.0.0.1:9000/keys",
                "http://[::1]/keys",
                "/etc/lunasec/jwks.json",
                "jwks.json",
            ],
        );
        bad(
            Form::Jwks,
            &[
                "",
                "http://id.example.com/jwks.json",
                "http://127.0.0.1.example.com/keys",
                "http://127.0.0.1@id.example.com/keys",
                "https://user@id.example.com/keys",
                "https://id.example.com/keys#first",
                "https:///keys",
                "https://id example.com/keys",
                "ftp://127.0.0.1/keys",
                "file:///etc/jwks.json",
                "https:id.example.com",
                "a\0b",
            ],
        );
        good(Form::Claimed, &["sid", "https://id.example.com/claims/sid", &"é".repeat(255)]);
        bad(Form::Claimed, &["", "a\nb", &"c".repeat(256)]);
    }

    #[test]
    fn keys_of_namespaces() {
        let keys = key_ids_by_namespace("shop=alias/a, eu-1 = k").unwrap();
        assert_eq!(keys.len(), 2);
        assert_eq!((keys["shop"].as_str(), keys["eu-1"].as_str()), ("alias/a", "k"));
        assert!(key_ids_by_namespace("").unwrap().is_empty());
        for bad in ["shop", "Shop=k", "shop=", "shop=a=b,shop=c", "shop=k,shop=l", ",", "=k"] {
            assert!(key_ids_by_namespace(bad).is_err(), "{bad}");
        }
    }
}
