//! Any body of a call is one message or refused in our own words. What is taken means the same when
//! it is written again, a list holds as many items as were counted, and a value is the one that came.
#![no_main]

use std::{borrow::Cow, time::Duration};

use bytes::Bytes;
use hyper::{HeaderMap, header::HeaderValue};
use libfuzzer_sys::fuzz_target;
use lunasec_api::{Code, Encoding, grpc as api};
use lunasec_core::limits;
use lunasec_sidecar::{
    config::Limits,
    failure::Failure,
    grpc::{message, new_value, timeout},
    vault::Form,
};
use prost::Message;

/// Longer than anything that we say, and shorter than what a refusal could repeat of a large body.
const WORDS: usize = 300;

fuzz_target!(|body: &[u8]| {
    header(body);
    let body = Bytes::copy_from_slice(body);
    if let Some(request) = one::<api::TokenizeRequest>(&body) {
        value(request);
    }
    one::<api::DetokenizeRequest>(&body);
    one::<api::GetMetadataRequest>(&body);
    one::<api::SetMetadataRequest>(&body);
    list(&body, |request: &api::BatchTokenizeRequest| request.items.len());
    list(&body, |request: &api::DeleteRequest| request.tokens.len());
    list(&body, |request: &api::CreateGrantsRequest| request.tokens.len());
    list(&body, |request: &api::VerifyGrantsRequest| request.tokens.len());
    list_or_none(&body, |request: &api::RevokeGrantsRequest| request.tokens.len());
    let tokens = list(&body, |request: &api::BatchDetokenizeRequest| request.tokens.len());
    if let Some(request) = tokens {
        answer(request.tokens);
    }
});

/// A message that is taken, or none.
fn one<M: Message + Default + PartialEq>(body: &Bytes) -> Option<M> {
    let message = taken(message::one::<M>(body))?;
    let again = message::one::<M>(&message::encode(&message));
    assert!(
        again.is_ok_and(|again| again == message),
        "it means something else when written again"
    );
    Some(message)
}

/// The same where it is a list, which is counted before it is decoded.
fn list<M: Message + Default + PartialEq>(body: &Bytes, len: fn(&M) -> usize) -> Option<M> {
    let counted = taken(message::list::<M>(body));
    let decoded = one::<M>(body).filter(|list| (1..=limits::LIST_ITEMS).contains(&len(list)));
    assert!(counted == decoded, "the count is not that of the items");
    counted
}

/// The same where the list may be left out.
fn list_or_none<M: Message + Default + PartialEq>(body: &Bytes, len: fn(&M) -> usize) {
    let counted = taken(message::list_or_none::<M>(body));
    let decoded = one::<M>(body).filter(|list| len(list) <= limits::LIST_ITEMS);
    assert!(counted == decoded, "the count is not that of the items");
}

/// A refusal is a constant: nothing of a body can be in it.
fn taken<M>(result: Result<M, Failure>) -> Option<M> {
    let refused = |failure: &Failure| {
        assert!(matches!(failure.code, Code::InvalidRequest | Code::UnsupportedMediaType));
        assert!(matches!(failure.detail, Cow::Borrowed(_)), "{}", failure.detail);
    };
    result.inspect_err(refused).ok()
}

fn value(request: api::TokenizeRequest) {
    let (sent, metadata) = (request.value.clone(), request.metadata.clone());
    match new_value(request, &Limits::default()) {
        Ok(value) => {
            assert_eq!(value.value.expose(), sent);
            assert_eq!(value.metadata.as_deref(), metadata.as_deref());
            assert!(value.form == Form::Value(Encoding::Base64) || str::from_utf8(&sent).is_ok());
            assert!(value.expires_in.is_none_or(|time| time > Duration::ZERO));
        }
        Err(failure) => {
            assert!(matches!(failure.code, Code::InvalidRequest | Code::PayloadTooLarge));
            assert!(failure.detail.len() < WORDS, "{}", failure.detail);
        }
    }
}

/// What is written item by item is the message that holds them.
fn answer(tokens: Vec<String>) {
    let items = tokens.into_iter().map(|token| api::DetokenizeItem { token, outcome: None });
    let response = api::BatchDetokenizeResponse { items: items.collect() };
    let mut written = message::Items::default();
    let mut bytes = message::PREFIX_BYTES;
    for item in &response.items {
        written.push(item);
        bytes += message::item_bytes(item);
        assert_eq!(written.bytes(), bytes);
    }
    assert_eq!(written.finish(), message::encode(&response));
}

fn header(bytes: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(bytes) else { return };
    let mut headers = HeaderMap::new();
    headers.insert("grpc-timeout", value);
    if let Ok(time) = timeout(&headers) {
        assert!(time.is_some() && (2..=9).contains(&bytes.len()));
    }
}
