//! What a request says beside its body: where, for whom, and what for.

use hyper::{
    HeaderMap,
    header::{AUTHORIZATION, HeaderName, HeaderValue},
};
use lunasec_api as api;

use crate::Error;

/// What all of it may have together, an idempotency key aside. A head of more than 16 KiB is refused
/// without a word of why.
const BYTES: usize = 14 * 1024;

/// Never printed: it may hold a session or a JWT.
#[derive(Default)]
pub(crate) struct Context {
    pub(crate) namespace: Option<String>,
    pub(crate) session: Option<String>,
    pub(crate) jwt: Option<String>,
    pub(crate) purpose: Option<String>,
}

impl Context {
    pub(crate) fn headers(&self, idempotency_key: Option<&str>) -> Result<HeaderMap, Error> {
        let said = [
            ("namespace", HeaderName::from_static(api::NAMESPACE_HEADER), "", &self.namespace),
            ("session", HeaderName::from_static(api::SESSION_HEADER), "", &self.session),
            ("JWT", AUTHORIZATION, "Bearer ", &self.jwt),
            ("purpose", HeaderName::from_static(api::PURPOSE_HEADER), "", &self.purpose),
        ];
        let mut headers = HeaderMap::new();
        for (what, name, scheme, text) in said {
            if let Some(text) = text {
                headers.insert(name, value(what, scheme, text)?);
            }
        }
        if headers.values().map(HeaderValue::len).sum::<usize>() > BYTES {
            return Err(Error::TooLong);
        }
        if let Some(key) = idempotency_key {
            headers.insert(api::IDEMPOTENCY_HEADER, value("idempotency key", "", key)?);
        }
        Ok(headers)
    }
}

fn value(what: &'static str, scheme: &str, text: &str) -> Result<HeaderValue, Error> {
    // Spaces at the ends are lost on the way: it would arrive as somebody else's.
    if text.is_empty() || text.trim() != text || text.chars().any(char::is_control) {
        return Err(Error::Unsendable { what });
    }
    let mut value =
        HeaderValue::try_from(format!("{scheme}{text}")).map_err(|_| Error::Unsendable { what })?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As one field after the other.
    fn of(text: &str) -> [(&'static str, Context); 4] {
        let (text, none) = (Some(text.to_owned()), Context::default);
        [
            ("namespace", Context { namespace: text.clone(), ..none() }),
            ("session", Context { session: text.clone(), ..none() }),
            ("JWT", Context { jwt: text.clone(), ..none() }),
            ("purpose", Context { purpose: text, ..none() }),
        ]
    }

    #[test]
    fn what_no_header_can_hold_is_refused_and_not_shown() {
        let odd = ["", " ", " marker", "marker ", "\tmarker", "mar\tker", "marker\r\nmarker: x"];
        for text in odd.into_iter().chain(["marker\n", "mar\0ker", "mar\u{7f}ker", "\u{a0}marker"])
        {
            let fields = of(text).map(|(what, context)| (what, context.headers(None)));
            let key = ("idempotency key", Context::default().headers(Some(text)));
            for (what, refused) in fields.into_iter().chain([key]) {
                let error = refused.unwrap_err();
                let said = format!("{error} {error:?}");
                assert!(said.starts_with(&format!("the {what} cannot be sent")), "{said}");
                assert!(!said.contains("rker") && !error.retryable(), "{text:?}: {said}");
            }
        }
    }

    #[test]
    fn together_it_fits_into_a_head() {
        let context = |purpose| Context {
            session: Some("s".repeat(1_024)),
            purpose: Some("p".repeat(purpose)),
            ..Context::default()
        };
        assert_eq!(context(BYTES - 1_024).headers(Some("key")).unwrap().len(), 3);
        let too_long = context(BYTES - 1_023).headers(None).unwrap_err();
        assert!(matches!(too_long, Error::TooLong) && !too_long.retryable());
    }

    #[test]
    fn what_a_header_can_hold_arrives_and_debug_does_not_show_it() {
        let names = ["lunasec-namespace", "lunasec-session", "authorization", "lunasec-purpose"];
        for (name, (_, context)) in names.into_iter().zip(of("a marker, 100 \u{20ac}")) {
            let headers = context.headers(Some("key")).unwrap();
            let scheme = if name == "authorization" { "Bearer " } else { "" };
            let text = format!("{scheme}a marker, 100 \u{20ac}");
            assert_eq!(headers[name].as_bytes(), text.as_bytes());
            assert_eq!((headers.len(), &headers["idempotency-key"]), (2, &"key".parse().unwrap()));
            assert!(!format!("{headers:?}").contains("marker"));
        }
        assert!(Context::default().headers(None).unwrap().is_empty());
    }
}
