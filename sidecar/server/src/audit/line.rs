//! What a line of the trail says of an item.
//!
//! | member | |
//! | --- | --- |
//! | `time` | when the request came: RFC 3339, UTC, milliseconds |
//! | `op` | the operation, as in the metrics |
//! | `code` | `ok`, or the error's code; of a verify also `grant_denied`, `grant_expired`; `cancelled` where nobody waited for the answer; `canary`, whatever it was answered |
//! | `client`, `uid`, `gid`, `pid` | who asked: by the policy, and by the kernel |
//! | `namespace` | |
//! | `token` | the token's audit id: its locator of kind audit, in hexadecimal |
//! | `session` | the session's tag, in hexadecimal |
//! | `purpose` | as `lunasec-purpose` said |
//! | `request` | the request's id |
//! | `degraded` | what was away |
//!
//! What is not known is left out.

use lunasec_core::{
    audit::{push_decimal, push_hex, push_string},
    ids::Millis,
};

use super::{About, Item, Records, Who};
use crate::http::rfc3339;

/// The last second that was written down: most records are of the same.
#[derive(Default)]
pub(super) struct Times {
    second: u64,
    /// As RFC 3339, without its fraction and zone.
    text: String,
}

impl Times {
    /// Appends a time as RFC 3339, in milliseconds.
    fn push(&mut self, line: &mut Vec<u8>, at: Millis) {
        let second = at / 1_000;
        if second != self.second || self.text.is_empty() {
            let text = rfc3339(at);
            (self.second, self.text) = (second, text[..text.len() - ".000Z".len()].into());
        }
        let millis = (at % 1_000) as u16;
        line.extend_from_slice(self.text.as_bytes());
        let digit = |of: u16| b'0' + (of % 10) as u8;
        let fraction = [b'.', digit(millis / 100), digit(millis / 10), digit(millis), b'Z'];
        line.extend_from_slice(&fraction);
    }
}

/// Appends the members of one item's line.
pub(super) fn members(line: &mut Vec<u8>, times: &mut Times, records: &Records, item: &Item) {
    let Records { about: About { at, request, caller, operation }, who, .. } = records;
    name(line, "time");
    line.push(b'"');
    times.push(line, *at);
    line.push(b'"');
    text(line, "op", operation.as_str());
    text(line, "code", item.code);
    if let Some(client) = who.client() {
        text(line, "client", &client.name);
    }
    number(line, "uid", caller.uid.into());
    number(line, "gid", caller.gid.into());
    if let Some(pid) = caller.pid {
        number(line, "pid", u64::try_from(pid).unwrap_or_default());
    }
    let Who { namespace, session, purpose, .. } = who;
    if let Some(namespace) = namespace {
        text(line, "namespace", namespace.as_str());
    }
    if let Some(token) = &item.token {
        digest(line, "token", token);
    }
    if let Some(session) = session {
        digest(line, "session", &session.0);
    }
    if let Some(purpose) = purpose {
        text(line, "purpose", purpose);
    }
    name(line, "request");
    line.push(b'"');
    line.extend_from_slice(request);
    line.push(b'"');
    if let Some(degraded) = item.degraded {
        text(line, "degraded", degraded.as_str());
    }
}

/// Appends a member that is text.
pub(super) fn text(line: &mut Vec<u8>, key: &str, value: &str) {
    name(line, key);
    push_string(line, value);
}

/// Appends a member that is a number.
pub(super) fn number(line: &mut Vec<u8>, key: &str, value: u64) {
    name(line, key);
    push_decimal(line, value);
}

fn digest(line: &mut Vec<u8>, key: &str, bytes: &[u8]) {
    name(line, key);
    line.push(b'"');
    push_hex(line, bytes);
    line.push(b'"');
}

fn name(line: &mut Vec<u8>, key: &str) {
    line.extend_from_slice(b",\"");
    line.extend_from_slice(key.as_bytes());
    line.extend_from_slice(b"\":");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_as_everywhere() {
        let mut times = Times::default();
        for at in [0, 7, 999, 1_000, 1_795_773_600_123, 1_795_773_600_124, 1_795_773_601_000, 5] {
            let mut line = Vec::new();
            times.push(&mut line, at);
            assert_eq!(String::from_utf8(line).unwrap(), rfc3339(at));
        }
    }
}
