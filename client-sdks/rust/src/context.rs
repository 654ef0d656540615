//! What a request says beside its body: where, for whom, and what for.

use hyper::{
    HeaderMap,
    header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName, HeaderValue},
};

use crate::{Error, limits::HEAD_BYTES};

pub(crate) const NAMESPACE: HeaderName = HeaderName::from_static("lunasec-namespace");
pub(crate) const SESSION: HeaderName = HeaderName::from_static("lunasec-session");
pub(crate) const PURPOSE: HeaderName = HeaderName::from_static("lunasec-purpose");
pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("lunasec-request-id");
pub(crate) const DEGRADED: HeaderName = HeaderName::from_static("lunasec-degraded");

/// Never printed: it may hold a session or a JWT. Two calls may share a request only if theirs are equal.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Context {
    pub(crate) namespace: Option<HeaderValue>,
    pub(crate) session: Option<HeaderValue>,
    pub(crate) jwt: Option<HeaderValue>,
    pub(crate) purpose: Option<HeaderValue>,
}

impl Context {
    fn rows(&self) -> [(HeaderName, &Option<HeaderValue>); 4] {
        [
            (NAMESPACE, &self.namespace),
            (SESSION, &self.session),
            (AUTHORIZATION, &self.jwt),
            (PURPOSE, &self.purpose),
        ]
    }

    /// Refuses more than a request can say beside its body.
    pub(crate) fn checked(self) -> Result<Self, Error> {
        let bytes: usize =
            self.rows().iter().filter_map(|(_, value)| value.as_ref()).map(HeaderValue::len).sum();
        if bytes > HEAD_BYTES {
            return Err(Error::invalid(
                "namespace, session, JWT and purpose are longer than 14 KiB together, which is more than a request can say beside its body; shorten them",
            ));
        }
        Ok(self)
    }

    /// The headers of all attempts of a request.
    pub(crate) fn headers(
        &self,
        has_body: bool,
        key: Option<&HeaderValue>,
        trace: Option<&HeaderValue>,
    ) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(HOST, HeaderValue::from_static("localhost"));
        if has_body {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let rows = self.rows().map(|(name, value)| (name, value.as_ref()));
        let said = rows.into_iter().chain([(IDEMPOTENCY_KEY, key), (TRACEPARENT, trace)]);
        for (name, value) in said {
            if let Some(value) = value {
                headers.insert(name, value.clone());
            }
        }
        headers
    }
}

/// A header's value: the bytes of its UTF-8, which is how the sidecar reads it. Spaces at the ends are lost on the way,
/// so that it would arrive as somebody else's.
pub(crate) fn header_value(what: &str, text: &str) -> Result<HeaderValue, Error> {
    scheme_value(what, "", text)
}

pub(crate) fn bearer(jwt: &str) -> Result<HeaderValue, Error> {
    scheme_value("JWT", "Bearer ", jwt)
}

fn scheme_value(what: &str, scheme: &str, text: &str) -> Result<HeaderValue, Error> {
    let refused = || {
        Error::invalid(format!(
            "the {what} cannot be sent: it is text without control characters, at least one character, and with no space at either end"
        ))
    };
    if text.is_empty() || text.trim() != text || text.chars().any(char::is_control) {
        return Err(refused());
    }
    let mut value = HeaderValue::try_from(format!("{scheme}{text}")).map_err(|_| refused())?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_header_can_hold_is_refused_and_not_shown() {
        let odd = ["", " ", " marker", "marker ", "\tmarker", "mar\tker", "marker\r\nmarker: x"];
        for text in odd.into_iter().chain(["marker\n", "mar\0ker", "mar\u{7f}ker", "\u{a0}marker"])
        {
            for refused in [header_value("session", text), bearer(text)] {
                let error = refused.unwrap_err();
                let said = format!("{error} {error:?}");
                assert!(said.contains(" cannot be sent") && !error.retryable(), "{said}");
                assert!(!said.contains("rker"), "{text:?}: {said}");
            }
        }
    }

    #[test]
    fn together_it_fits_into_a_head() {
        let context = |purpose| Context {
            session: Some(header_value("session", &"s".repeat(1_024)).unwrap()),
            purpose: Some(header_value("purpose", &"p".repeat(purpose)).unwrap()),
            ..Context::default()
        };
        assert!(context(HEAD_BYTES - 1_024).checked().is_ok());
        let error = context(HEAD_BYTES - 1_023).checked().err().unwrap();
        assert!(error.detail().contains("14 KiB") && !error.retryable());
    }

    #[test]
    fn what_a_header_can_hold_arrives_and_debug_does_not_show_it() {
        let text = "a marker, 100 \u{20ac}";
        let context = Context {
            namespace: Some(header_value("namespace", text).unwrap()),
            session: Some(header_value("session", text).unwrap()),
            jwt: Some(bearer(text).unwrap()),
            purpose: Some(header_value("purpose", text).unwrap()),
        };
        let headers = context.headers(true, Some(&HeaderValue::from_static("key")), None);
        for name in [NAMESPACE, SESSION, PURPOSE] {
            assert_eq!(headers[name].as_bytes(), text.as_bytes());
        }
        assert_eq!(headers[AUTHORIZATION].as_bytes(), format!("Bearer {text}").as_bytes());
        assert_eq!(headers.len(), 7);
        assert!(!format!("{headers:?}").contains("marker"));
    }
}
