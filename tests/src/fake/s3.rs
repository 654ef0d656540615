//! The objects of one bucket.

use std::{collections::BTreeMap, fmt::Write as _, ops::Bound};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use hyper::{Request, Response, StatusCode, header};

use super::Asked;

const CHECKSUM: &str = "x-amz-checksum-crc32";

/// See the module.
pub struct S3 {
    bucket: String,
    /// What lies under each key.
    pub objects: BTreeMap<String, Bytes>,
    /// Whether the bucket is there.
    pub exists: bool,
    /// Whether who asks may not list, so that what is missing is forbidden.
    pub hides_what_is_missing: bool,
}

impl S3 {
    pub(super) fn new(bucket: &str) -> Self {
        let (bucket, objects) = (bucket.to_owned(), BTreeMap::new());
        Self { bucket, objects, exists: true, hides_what_is_missing: false }
    }

    pub(super) fn answer(&mut self, asked: Asked, request: &Request<Bytes>) -> Response<Bytes> {
        let path = request.uri().path().trim_start_matches('/');
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        if !self.exists || bucket != self.bucket {
            return refusal(404, "NoSuchBucket");
        }
        let key = unescaped(key);
        match asked {
            Asked::Get => self.get(&key, request),
            Asked::Put => self.put(key, request),
            Asked::Delete => self.delete(&key, request),
            Asked::List => self.list(request),
            _ => refusal(501, "NotImplemented"),
        }
    }

    fn get(&self, key: &str, request: &Request<Bytes>) -> Response<Bytes> {
        let Some(object) = self.objects.get(key) else { return self.missing() };
        let mut answer = Response::new(object.clone());
        set(&mut answer, header::ETAG.as_str(), &e_tag(object));
        if let Some(range) = text(request, "range") {
            let last: usize = range.strip_prefix("bytes=0-").unwrap().parse().unwrap();
            let last = last.min(object.len() - 1);
            *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
            *answer.body_mut() = object.slice(..=last);
            set(&mut answer, "content-range", &format!("bytes 0-{last}/{}", object.len()));
        } else if text(request, "x-amz-checksum-mode").is_some() {
            seal(&mut answer, object);
        }
        answer
    }

    fn put(&mut self, key: String, request: &Request<Bytes>) -> Response<Bytes> {
        assert!(text(request, "content-encoding").is_none(), "a body in chunks is not understood");
        let body = request.body();
        if text(request, CHECKSUM).is_some_and(|sum| sum != crc32(body)) {
            return refusal(400, "BadDigest");
        }
        let there = self.objects.get(&key).map(e_tag);
        if text(request, "if-none-match").is_some() && there.is_some() {
            return refusal(412, "PreconditionFailed");
        }
        match (text(request, "if-match"), there) {
            (Some(_), None) => return refusal(404, "NoSuchKey"),
            (Some(expected), Some(there)) if expected != there => {
                return refusal(412, "PreconditionFailed");
            }
            _ => {}
        }
        let mut answer = Response::new(Bytes::new());
        set(&mut answer, header::ETAG.as_str(), &e_tag(body));
        self.objects.insert(key, body.clone());
        answer
    }

    fn delete(&mut self, key: &str, request: &Request<Bytes>) -> Response<Bytes> {
        if let Some(expected) = text(request, "if-match") {
            match self.objects.get(key).map(e_tag) {
                None => return refusal(404, "NoSuchKey"),
                Some(there) if there != expected => return refusal(412, "PreconditionFailed"),
                Some(_) => {}
            }
        }
        self.objects.remove(key);
        let mut answer = Response::new(Bytes::new());
        *answer.status_mut() = StatusCode::NO_CONTENT;
        answer
    }

    fn list(&self, request: &Request<Bytes>) -> Response<Bytes> {
        let prefix = query(request, "prefix").unwrap_or_default();
        let after = query(request, "continuation-token").or_else(|| query(request, "start-after"));
        let most: usize = query(request, "max-keys").map_or(1_000, |most| most.parse().unwrap());
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut found = self.objects.range::<String, _>((from, Bound::Unbounded));
        let mut found = found.by_ref().filter(|(key, _)| key.starts_with(&prefix));
        let page: Vec<_> = found.by_ref().take(most).collect();
        let mut xml = String::from("<?xml version=\"1.0\"?><ListBucketResult>");
        for (key, object) in &page {
            let (e_tag, size) = (e_tag(object).replace('"', "&quot;"), object.len());
            let _ = write!(
                xml,
                "<Contents><Key>{key}</Key><ETag>{e_tag}</ETag><Size>{size}</Size></Contents>"
            );
        }
        let goes_on = found.next().is_some();
        let _ = write!(xml, "<IsTruncated>{goes_on}</IsTruncated>");
        if let (true, Some((last, _))) = (goes_on, page.last()) {
            let _ = write!(xml, "<NextContinuationToken>{last}</NextContinuationToken>");
        }
        xml.push_str("</ListBucketResult>");
        Response::new(xml.into())
    }

    fn missing(&self) -> Response<Bytes> {
        if self.hides_what_is_missing {
            refusal(403, "AccessDenied")
        } else {
            refusal(404, "NoSuchKey")
        }
    }
}

/// Two objects of the same bytes have the same one, as on S3.
fn e_tag(object: &Bytes) -> String {
    let digest = super::digest(&[object]);
    let hex = digest.as_ref()[..16].iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    format!("\"{hex}\"")
}

pub(super) fn refusal(status: u16, code: &str) -> Response<Bytes> {
    let body = format!(
        "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>As told.</Message></Error>"
    );
    let mut answer = Response::new(body.into());
    *answer.status_mut() = StatusCode::from_u16(status).unwrap();
    answer
}

/// Says the checksum of `body`.
pub(super) fn seal(answer: &mut Response<Bytes>, body: &[u8]) {
    set(answer, CHECKSUM, &crc32(body));
}

fn set(answer: &mut Response<Bytes>, name: &str, value: &str) {
    let name = header::HeaderName::from_bytes(name.as_bytes()).unwrap();
    answer.headers_mut().insert(name, value.parse().unwrap());
}

fn text<'a>(request: &'a Request<Bytes>, header: &str) -> Option<&'a str> {
    request.headers().get(header).and_then(|value| value.to_str().ok())
}

/// A part of the query.
pub(super) fn query(request: &Request<Bytes>, name: &str) -> Option<String> {
    let pairs = request.uri().query()?.split('&');
    let mut pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.find(|(found, _)| *found == name).map(|(_, value)| unescaped(value))
}

fn unescaped(text: &str) -> String {
    let mut bytes = text.bytes();
    let mut plain = Vec::new();
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            b'%' => {
                let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
                u8::from_str_radix(str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            byte => byte,
        });
    }
    String::from_utf8(plain).unwrap()
}

/// Of IEEE 802.3, bit by bit, as the header has it.
fn crc32(bytes: &[u8]) -> String {
    let mut sum = u32::MAX;
    for &byte in bytes {
        sum ^= u32::from(byte);
        for _ in 0..8 {
            sum = (sum >> 1) ^ (0xEDB8_8320 & (sum & 1).wrapping_neg());
        }
    }
    BASE64_STANDARD.encode((!sum).to_be_bytes())
}
