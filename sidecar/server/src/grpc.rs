//! gRPC on the socket: decode, call one verb, encode. Nothing is decided here, and what it has in
//! common with JSON is in [`crate::http`].
//!
//! Messages are framed here and not by tonic: so a body is bounded, and counts against the budget,
//! before anything is decoded, as in JSON. Health and reflection are tonic's.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use hyper::{HeaderMap, Response, body::Incoming, http::request::Parts};
use lunasec_api::{Code, Encoding, grpc as api};
use lunasec_core::{ids::Millis, policy::Caller, secret::Plaintext, token::Token};

use crate::{
    audit::Trail,
    config::Limits,
    failure::Failure,
    http::{
        Collected, Http, Room, answer, body, body_limit, checked, complete, discard, full, token,
    },
    status,
    telemetry::Operation,
    vault::{Age, Call, NewValue, Revealed},
};

pub mod message;

mod grants;
mod health;
mod method;
mod open;
mod reply;

pub use method::{Method, speaks, timeout};
pub use reply::{Reply, failed};

use open::Open;

type Result<T> = std::result::Result<T, Failure>;

/// The methods. What they need is that of [`Http`].
#[derive(Default)]
pub struct Grpc {
    open: Open,
}

impl Grpc {
    /// Answers one call.
    pub async fn answer(
        &self,
        http: &Arc<Http>,
        method: Method,
        caller: Caller,
        head: &Parts,
        body: Incoming,
        trail: &Trail,
    ) -> Result<Response<Reply>> {
        let call = match admit(http, method, caller, &head.headers, trail).await {
            Ok(call) => call,
            Err(failure) => {
                discard(&head.headers, body);
                return Err(failure);
            }
        };
        let operation = match method {
            Method::Verb(operation) => operation,
            _ => return self.open.answer(http, method, head, body).await,
        };
        if operation == Operation::Status {
            discard(&head.headers, body);
            return Ok(reply::message(&api::GetStatusResponse::from(http.report.status())));
        }
        let most = body_limit(operation, &http.limits) + message::PREFIX_BYTES;
        let body = body::read_any(&head.headers, body, most, &http.budget).await?;
        Verbs(Arc::clone(http)).dispatch(operation, call, body).await
    }
}

/// Before a byte of the body is read.
async fn admit(
    http: &Http,
    method: Method,
    caller: Caller,
    headers: &HeaderMap,
    trail: &Trail,
) -> Result<Call> {
    if method == Method::Unknown {
        return Err(Failure::new(
            Code::MethodNotAllowed,
            "there is no such method; reflection lists those of lunasec.v1.Tokenizer",
        ));
    }
    method::check_subtype(headers)?;
    http.admit(caller, method.operation(), headers, trail).await
}

struct Verbs(Arc<Http>);

impl Verbs {
    async fn dispatch(
        self,
        operation: Operation,
        call: Call,
        body: Collected,
    ) -> Result<Response<Reply>> {
        match operation {
            Operation::Detokenize => self.detokenize(&call, &body).await,
            Operation::DetokenizeBatch => self.batch_detokenize(&call, &body).await,
            Operation::MetadataGet => self.get_metadata(&call, &body).await,
            Operation::GrantsVerify => self.verify_grants(&call, &body).await,
            // These run to their end, also when their client goes away.
            _ => complete(Box::pin(self.write(operation, call, body))).await,
        }
    }

    async fn detokenize(&self, call: &Call, body: &Collected) -> Result<Response<Reply>> {
        let request: api::DetokenizeRequest = message::one(body.bytes())?;
        let revealed = self.0.vault.detokenize(call, &token(&request.token)?).await?;
        let mut held = self.0.budget.hold();
        held.grow(revealed.expose().len())?;
        self.0.report.degraded(revealed.age);
        Ok(reply::held(message::encode(&detokenized(revealed)), held))
    }

    /// Items are written as they come, so that a batch of large values is never held whole beside
    /// its answer.
    async fn batch_detokenize(&self, call: &Call, body: &Collected) -> Result<Response<Reply>> {
        use api::detokenize_item::Outcome;
        let request: api::BatchDetokenizeRequest = message::list(body.bytes())?;
        self.0.check_items(request.tokens.len())?;
        let tokens: Vec<_> = request.tokens.iter().map(|text| token(text)).collect();
        let mut revealed = self.0.vault.detokenize_batch(call, &tokens).await?;
        let full = full();
        let item = |text: &String, outcome| api::DetokenizeItem {
            token: text.clone(),
            outcome: Some(outcome),
        };
        let instead = |text| item(text, Outcome::Error(failed_item(&full)));
        let full_bytes = |text| message::item_bytes(&instead(text));
        let mut room =
            Room::new(self.0.limits.batch_bytes, 0, request.tokens.iter().map(full_bytes).sum());
        let (mut items, mut held) = (message::Items::default(), self.0.budget.hold());
        let mut age = Age::default();
        for text in &request.tokens {
            let Some(found) = revealed.next().await else { break };
            let found = item(
                text,
                match found {
                    Ok(revealed) => {
                        age = age.older(revealed.age);
                        Outcome::Detokenized(detokenized(revealed))
                    }
                    Err(failure) => Outcome::Error(failed_item(&failure)),
                },
            );
            let fits = room.fits(message::item_bytes(&found), full_bytes(text));
            items.push(&if fits { found } else { instead(text) });
            held.grow(items.bytes())?;
        }
        self.0.report.degraded(age);
        Ok(reply::held(items.finish(), held))
    }

    async fn get_metadata(&self, call: &Call, body: &Collected) -> Result<Response<Reply>> {
        let request: api::GetMetadataRequest = message::one(body.bytes())?;
        let described = self.0.vault.metadata_get(call, &token(&request.token)?).await?;
        self.0.report.degraded(described.age);
        Ok(reply::message(&api::GetMetadataResponse {
            metadata: described.metadata,
            version: described.version,
            created_at: Some(timestamp(described.created_at)),
            expires_at: described.expires_at.map(timestamp),
            staleness: staleness(described.age),
        }))
    }

    async fn write(
        self,
        operation: Operation,
        call: Call,
        body: Collected,
    ) -> Result<Response<Reply>> {
        let mut answer = match operation {
            Operation::Tokenize => self.tokenize(&call, body).await,
            Operation::TokenizeBatch => self.batch_tokenize(&call, body).await,
            Operation::MetadataSet => self.set_metadata(&call, body).await,
            Operation::GrantsCreate => self.create_grants(&call, body).await,
            Operation::GrantsRevoke => self.revoke_grants(&call, body).await,
            Operation::Delete => self.delete(&call, body).await,
            _ => Err(Failure::internal("not a verb that writes")),
        }?;
        // Messages of writes have no place for it, so it is in the head, as in HTTP.
        let age = self.0.vault.writing_age(&call.namespace);
        self.0.report.degraded(age);
        answer::say_age(answer.headers_mut(), age);
        Ok(answer)
    }

    async fn tokenize(&self, call: &Call, body: Collected) -> Result<Response<Reply>> {
        let request: api::TokenizeRequest = message::one(body.bytes())?;
        let value = new_value(request, &self.0.limits)?;
        drop(body);
        let given = self.0.vault.tokenize(call, value).await?;
        Ok(reply::message(&tokenized(&given.token, given.durability)))
    }

    async fn batch_tokenize(&self, call: &Call, body: Collected) -> Result<Response<Reply>> {
        use api::tokenize_item::Outcome;
        let request: api::BatchTokenizeRequest = message::list(body.bytes())?;
        self.0.check_items(request.items.len())?;
        let limits = &self.0.limits;
        let values = request.items.into_iter().map(|item| new_value(item, limits)).collect();
        drop(body);
        let given = self.0.vault.tokenize_batch(call, values).await?;
        let items = given.iter().map(|given| match given {
            Ok(given) => Outcome::Tokenized(tokenized(&given.token, given.durability)),
            Err(failure) => Outcome::Error(failed_item(failure)),
        });
        let items = items.map(|outcome| api::TokenizeItem { outcome: Some(outcome) }).collect();
        Ok(reply::message(&api::BatchTokenizeResponse { items }))
    }

    async fn set_metadata(&self, call: &Call, body: Collected) -> Result<Response<Reply>> {
        let request: api::SetMetadataRequest = message::one(body.bytes())?;
        self.0.check_metadata(&request.metadata)?;
        let (token, text) = (token(&request.token)?, &request.metadata);
        let written = self.0.vault.metadata_set(call, &token, text, request.if_version).await?;
        Ok(reply::message(&api::SetMetadataResponse {
            durability: api::Durability::from(written.durability).into(),
            version: written.version,
        }))
    }

    async fn delete(&self, call: &Call, body: Collected) -> Result<Response<Reply>> {
        use api::delete_item::Outcome;
        let request: api::DeleteRequest = message::list(body.bytes())?;
        self.0.check_items(request.tokens.len())?;
        let tokens: Vec<_> = request.tokens.iter().map(|text| token(text)).collect();
        let deleted = self.0.vault.delete(call, &tokens).await?;
        let items = deleted.into_iter().zip(request.tokens).map(|(deleted, token)| {
            let outcome = match deleted {
                Ok(durability) => {
                    let durability = api::Durability::from(durability).into();
                    Outcome::Deleted(api::Deleted { durability })
                }
                Err(failure) => Outcome::Error(failed_item(&failure)),
            };
            api::DeleteItem { token, outcome: Some(outcome) }
        });
        Ok(reply::message(&api::DeleteResponse { items: items.collect() }))
    }
}

/// What is to be tokenized, within its limits.
pub fn new_value(request: api::TokenizeRequest, limits: &Limits) -> Result<NewValue> {
    let text = str::from_utf8(&request.value).is_ok();
    let encoding = match api::Encoding::try_from(request.encoding) {
        Ok(api::Encoding::Unspecified) if text => Encoding::Utf8,
        Ok(api::Encoding::Unspecified | api::Encoding::Base64) => Encoding::Base64,
        Ok(api::Encoding::Utf8) if text => Encoding::Utf8,
        Ok(api::Encoding::Utf8) => {
            return Err(invalid("the value is not UTF-8, as its encoding says"));
        }
        Err(_) => return Err(invalid("the encoding is none of lunasec.v1.Encoding")),
    };
    let expires_in = request
        .expires_in
        .map(|time| time.try_into().map_err(|_| invalid("expires_in is negative")))
        .transpose()?;
    let value = Plaintext::new(request.value.into());
    checked(limits, value, encoding, request.metadata.as_deref(), expires_in)
}

fn invalid(detail: &'static str) -> Failure {
    Failure::new(Code::InvalidRequest, detail)
}

fn failed_item(failure: &Failure) -> api::ItemError {
    let retryable = status::row(failure.code).retryable;
    api::ItemError::new(failure.code, &failure.detail, retryable)
}

fn tokenized(token: &Token, durability: lunasec_api::Durability) -> api::TokenizeResponse {
    let durability = api::Durability::from(durability).into();
    api::TokenizeResponse { token: token.expose_text(), durability }
}

fn detokenized(revealed: Revealed) -> api::DetokenizeResponse {
    let encoding = api::Encoding::from(revealed.encoding).into();
    // Not copied: it is wiped when the answer is written.
    let staleness = staleness(revealed.age);
    api::DetokenizeResponse { value: Bytes::from_owner(revealed), encoding, staleness }
}

fn staleness(age: Age) -> Option<api::Staleness> {
    let (reason, time) = age.reason().zip(age.time())?;
    // Some days at most: it fits.
    let age = prost_types::Duration::try_from(time).unwrap_or_default();
    Some(api::Staleness { dependency: reason.as_str().into(), age: Some(age) })
}

fn timestamp(at: Millis) -> prost_types::Timestamp {
    let seconds = i64::try_from(at / 1_000).unwrap_or(i64::MAX);
    // Less than a thousand million: it fits.
    let nanos = i32::try_from(at % 1_000 * 1_000_000).unwrap_or_default();
    prost_types::Timestamp { seconds, nanos }
}
