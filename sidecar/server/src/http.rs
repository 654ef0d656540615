//! HTTP on the socket: decode, call one verb, encode. Nothing is decided here.

use std::{
    borrow::Cow,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use futures_util::StreamExt;
use hyper::{
    HeaderMap,
    body::Incoming,
    header::{AUTHORIZATION, HeaderName},
};
use lunasec_api as api;
use lunasec_api::{Code, Encoding};
use lunasec_core::{
    ids::{Millis, Namespace, Session},
    limits,
    policy::{self, Caller},
    secret::Plaintext,
    token::Token,
    words,
};

use crate::{
    access::{self, Access},
    audit::Trail,
    config::{Grants, Limits},
    failure::Failure,
    idempotency::IdempotencyKey,
    report::Report,
    store::Name,
    telemetry::Operation,
    vault::{Age, Call, Form, Given, Graces, NewValue, Revealed, Vault},
};

pub mod answer;
pub(crate) mod body;
mod grants;
pub mod json;
mod route;

pub use answer::Answer;
pub use body::{Budget, discard};
pub use route::Route;

pub(crate) use answer::{Room, full};
pub(crate) use body::{Collected, Held};
pub(crate) use route::body_limit;

type Result<T> = std::result::Result<T, Failure>;

/// The routes and what they need.
pub struct Http {
    /// Who may call.
    pub access: Access,
    /// The verbs.
    pub vault: Arc<Vault>,
    /// What status says.
    pub report: Arc<Report>,
    /// The bounds in force.
    pub limits: Limits,
    /// Bytes of bodies held at once.
    pub budget: Arc<Budget>,
    /// What a sweep keeps unless it is told otherwise.
    pub graces: Graces,
    /// How long grants last.
    pub grants: Grants,
}

impl Http {
    /// Answers one request.
    pub async fn answer(
        self: &Arc<Self>,
        route: Route,
        caller: Caller,
        headers: &HeaderMap,
        body: Incoming,
        trail: &Trail,
    ) -> Result<Answer> {
        let operation = match route {
            Route::Found(operation) => operation,
            Route::WrongMethod(allow) => {
                discard(headers, body);
                let detail = format!("this route takes {allow}");
                return Err(Failure::new(Code::MethodNotAllowed, detail));
            }
            Route::Unknown => {
                discard(headers, body);
                return Err(Failure::new(
                    Code::NotFound,
                    "there is no such route; see the wire contract",
                ));
            }
        };
        let call = match self.admit(caller, operation, headers, trail).await {
            Ok(call) => call,
            Err(failure) => {
                discard(headers, body);
                return Err(failure);
            }
        };
        if operation == Operation::Status {
            discard(headers, body);
            return answer::json(&self.report.status());
        }
        let most = route::body_limit(operation, &self.limits);
        let body = body::read(headers, body, most, &self.budget).await?;
        self.dispatch(operation, call, body).await
    }

    /// The hot verb is in line; the others are boxed, so that its future stays small.
    async fn dispatch(
        self: &Arc<Self>,
        operation: Operation,
        call: Call,
        body: Collected,
    ) -> Result<Answer> {
        match operation {
            Operation::Detokenize => self.detokenize(&call, body.as_ref()).await,
            Operation::DetokenizeBatch | Operation::MetadataGet | Operation::GrantsVerify => {
                Box::pin(self.read(operation, &call, body)).await
            }
            _ => complete(Box::pin(Arc::clone(self).write(operation, call, body))).await,
        }
    }

    async fn read(&self, operation: Operation, call: &Call, body: Collected) -> Result<Answer> {
        match operation {
            Operation::DetokenizeBatch => self.detokenize_batch(call, body.as_ref()).await,
            Operation::GrantsVerify => self.grants_verify(call, body.as_ref()).await,
            _ => self.metadata_get(call, body.as_ref()).await,
        }
    }

    async fn write(
        self: Arc<Self>,
        operation: Operation,
        call: Call,
        body: Collected,
    ) -> Result<Answer> {
        let answer = match operation {
            Operation::Tokenize => self.tokenize(&call, body).await,
            Operation::TokenizeBatch => self.tokenize_batch(&call, body).await,
            Operation::MetadataSet => self.metadata_set(&call, body).await,
            Operation::GrantsCreate => self.grants_create(&call, body).await,
            Operation::GrantsRevoke => self.grants_revoke(&call, body).await,
            Operation::Delete => self.delete(&call, body).await,
            Operation::CanariesCreate => self.canary_create(&call, body).await,
            Operation::Sweep => return self.sweep(&call, body).await,
            _ => Err(Failure::internal("not a verb that writes")),
        }?;
        Ok(self.aged(answer, self.vault.writing_age(&call.namespace)))
    }

    /// Before a byte of the body is read: who may not call must not cost anything.
    pub(crate) async fn admit(
        &self,
        caller: Caller,
        operation: Operation,
        headers: &HeaderMap,
        trail: &Trail,
    ) -> Result<Call> {
        let asked = operation;
        let operation = match asked {
            Operation::Detokenize | Operation::DetokenizeBatch => policy::Operation::Detokenize,
            Operation::Tokenize | Operation::TokenizeBatch => policy::Operation::Tokenize,
            Operation::MetadataGet | Operation::MetadataSet => policy::Operation::Metadata,
            Operation::GrantsCreate | Operation::GrantsVerify | Operation::GrantsRevoke => {
                policy::Operation::Grants
            }
            Operation::Delete => policy::Operation::Delete,
            Operation::Sweep => policy::Operation::Sweep,
            Operation::CanariesCreate => policy::Operation::Canaries,
            Operation::Status | Operation::Health | Operation::Reflection | Operation::Unknown => {
                policy::Operation::Status
            }
        };
        let namespace = match one_header(headers, &NAMESPACE)? {
            Some(name) => Some(
                Namespace::parse(name)
                    .map_err(|error| Failure::new(Code::InvalidNamespace, error.to_string()))?,
            ),
            None => None,
        };
        let said = one_header(headers, &PURPOSE)?;
        let said = said.map(|said| recorded(said, api::PURPOSE_HEADER)).transpose()?.flatten();
        let admitted = self.access.admit(&caller, operation, namespace.clone());
        let (guest, namespace) = admitted.inspect_err(|_| {
            trail.refused(self.access.known(&caller, operation), namespace.as_ref());
        })?;
        trail.admitted(&guest, &namespace, said);
        let session = match operation {
            policy::Operation::Status => None,
            _ => {
                let named = one_header(headers, &SESSION)?.map(session).transpose()?;
                self.access.session(&guest, one_header(headers, &AUTHORIZATION)?, named).await?
            }
        };
        let needs = guest.client.needs(operation);
        needs
            .missing(session.is_some(), said.is_some())
            .map_or(Ok(()), |it| Err(access::missing(it)))?;
        let idempotency_key = match one_header(headers, &IDEMPOTENCY)? {
            Some(key) => Some(IdempotencyKey::parse(key).ok_or_else(|| {
                invalid("the idempotency-key is 1 to 255 visible ASCII characters")
            })?),
            None => None,
        };
        let proven = self.access.sessions().are_proven();
        let trail = trail.clone();
        let call = Call {
            caller,
            operation: asked,
            guest,
            namespace,
            session,
            proven,
            idempotency_key,
            trail,
        };
        if let Some(session) = &call.session {
            self.vault.note_session(&call, session).await;
        }
        Ok(call)
    }

    async fn tokenize(&self, call: &Call, body: Collected) -> Result<Answer> {
        let request = json::parse::<api::TokenizeRequest<'_>>(body.as_ref())?;
        let value = self.new_value(&request)?;
        drop(body);
        let given = self.vault.tokenize(call, value).await?;
        answer::json(&tokenized(&given))
    }

    async fn tokenize_batch(&self, call: &Call, body: Collected) -> Result<Answer> {
        let request = json::parse::<api::TokenizeBatch<'_>>(body.as_ref())?;
        self.check_items(request.items.len())?;
        let values = request.items.iter().map(|item| self.new_value(item)).collect();
        drop(request);
        drop(body);
        let given = self.vault.tokenize_batch(call, values).await?;
        let items = given.iter().map(|given| match given {
            Ok(given) => api::Item::Done(tokenized(given)),
            Err(failure) => answer::failed(failure, None),
        });
        answer::json(&api::Items { items: items.collect() })
    }

    async fn detokenize(&self, call: &Call, body: &[u8]) -> Result<Answer> {
        let request = json::parse::<api::TokenRequest<'_>>(body)?;
        let revealed = self.vault.detokenize(call, &token(&request.token)?).await?;
        let answer = answer::held_json(&self.budget, &detokenized(&revealed, None)?)?;
        Ok(self.aged(answer, revealed.age))
    }

    /// Items are written as they come, so that a batch of large values is never held whole beside
    /// its answer.
    async fn detokenize_batch(&self, call: &Call, body: &[u8]) -> Result<Answer> {
        let request = json::parse::<api::TokensRequest<'_>>(body)?;
        self.check_items(request.tokens.len())?;
        let tokens: Vec<_> = request.tokens.iter().map(|text| token(text)).collect();
        let mut revealed = self.vault.detokenize_batch(call, &tokens).await?;
        let texts = request.tokens.iter().map(|text| &**text);
        let mut items = answer::Items::new(self.limits.batch_bytes, &self.budget, texts)?;
        let mut age = Age::default();
        for text in &request.tokens {
            let Some(item) = revealed.next().await else { break };
            let token = Some(Cow::Borrowed(&**text));
            let item = match &item {
                Ok(revealed) => {
                    age = age.older(revealed.age);
                    api::Item::Done(detokenized(revealed, token)?)
                }
                Err(failure) => answer::failed(failure, token),
            };
            items.push(text, &item)?;
        }
        self.report.degraded(age);
        Ok(items.finish())
    }

    /// Says of an answer how old it is, and counts it, if it is older than it should be.
    fn aged(&self, answer: Answer, age: Age) -> Answer {
        self.report.degraded(age);
        answer::aged(answer, age)
    }

    async fn metadata_get(&self, call: &Call, body: &[u8]) -> Result<Answer> {
        let request = json::parse::<api::TokenRequest<'_>>(body)?;
        let described = self.vault.metadata_get(call, &token(&request.token)?).await?;
        let metadata = serde_json::from_str(&described.metadata).map_err(Failure::corrupted)?;
        let answer = answer::json(&api::Metadata {
            metadata,
            version: described.version,
            created_at: rfc3339(described.created_at).into(),
            expires_at: described.expires_at.map(|at| rfc3339(at).into()),
        })?;
        Ok(self.aged(answer, described.age))
    }

    async fn metadata_set(&self, call: &Call, body: Collected) -> Result<Answer> {
        let request = json::parse::<api::MetadataSet<'_>>(body.as_ref())?;
        self.check_metadata(request.metadata.get())?;
        let token = token(&request.token)?;
        let text = request.metadata.get();
        let written = self.vault.metadata_set(call, &token, text, request.if_version).await?;
        answer::json(&api::MetadataWritten {
            durability: written.durability,
            version: written.version,
        })
    }

    async fn delete(&self, call: &Call, body: Collected) -> Result<Answer> {
        let request = json::parse::<api::TokensRequest<'_>>(body.as_ref())?;
        self.check_items(request.tokens.len())?;
        let tokens: Vec<_> = request.tokens.iter().map(|text| token(text)).collect();
        let deleted = self.vault.delete(call, &tokens).await?;
        let items = deleted.iter().zip(&request.tokens).map(|(deleted, text)| match deleted {
            Ok(durability) => api::Item::Done(api::Deleted {
                token: Cow::Borrowed(text),
                deleted: true,
                durability: *durability,
            }),
            Err(failure) => answer::failed(failure, Some(Cow::Borrowed(text))),
        });
        answer::json(&api::Items { items: items.collect() })
    }

    async fn canary_create(&self, call: &Call, body: Collected) -> Result<Answer> {
        let request = json::parse::<api::CanaryRequest>(body.as_ref())?;
        let note = request.note.as_deref().map(|note| recorded(note, "note")).transpose()?;
        let note = Plaintext::new(note.flatten().unwrap_or_default().as_bytes().to_vec());
        let expires_in = request.expires_in.as_deref().map(duration).transpose()?;
        let canary = checked(&self.limits, note, Encoding::Utf8, None, expires_in)?;
        let given = self.vault.canary_create(call, canary).await?;
        answer::json(&tokenized(&given))
    }

    async fn sweep(&self, call: &Call, body: Collected) -> Result<Answer> {
        let request = json::parse::<api::SweepRequest>(body.as_ref())?;
        let grace = |text: &Option<String>, default: Duration| match text {
            Some(text) => duration(text),
            None => Ok(default),
        };
        let graces = Graces {
            expired: grace(&request.expired_grace, self.graces.expired)?,
            tombstone: grace(&request.tombstone_grace, self.graces.tombstone)?,
        };
        let after = request.after.as_deref().map(Name::from_text);
        let page = self.vault.sweep(call, graces, after.as_ref(), request.dry_run).await?;
        answer::json(&page)
    }

    pub(crate) fn check_items(&self, count: usize) -> Result<()> {
        if count <= self.limits.batch_items {
            return Ok(());
        }
        let most = self.limits.batch_items;
        Err(invalid(format!("a list holds at most {most} items here; send several requests")))
    }

    fn new_value(&self, request: &api::TokenizeRequest<'_>) -> Result<NewValue> {
        let encoding = request.encoding.unwrap_or_default();
        let value = match encoding {
            Encoding::Utf8 => request.value.as_bytes().to_vec(),
            Encoding::Base64 => BASE64.decode(request.value.as_bytes()).map_err(|_| {
                invalid("the value is not base64 in the standard alphabet with padding (RFC 4648)")
            })?,
        };
        let metadata = request.metadata.map(serde_json::value::RawValue::get);
        let expires_in = request.expires_in.as_deref().map(duration).transpose()?;
        checked(&self.limits, Plaintext::new(value), encoding, metadata, expires_in)
    }

    pub(crate) fn check_metadata(&self, text: &str) -> Result<()> {
        json::check_metadata(text, self.limits.metadata)
    }
}

/// A value within its limits, however it came.
pub(crate) fn checked(
    limits: &Limits,
    value: Plaintext,
    encoding: Encoding,
    metadata: Option<&str>,
    expires_in: Option<Duration>,
) -> Result<NewValue> {
    if value.expose().len() > limits.value {
        let most = limits.value;
        let detail = format!("the value is larger than {most} bytes");
        return Err(Failure::new(Code::PayloadTooLarge, detail));
    }
    if let Some(text) = metadata {
        json::check_metadata(text, limits.metadata)?;
    }
    if let Some(time) = expires_in {
        check_expiry(time)?;
    }
    let (form, metadata) = (Form::Value(encoding), metadata.map(Into::into));
    Ok(NewValue { value, form, metadata, expires_in })
}

/// Runs a write to its end, also when its client goes away meanwhile.
pub(crate) async fn complete<T: Send + 'static>(
    write: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    // What a panic says may hold a value; its place is in the log already.
    tokio::spawn(write).await.unwrap_or_else(|_| Err(Failure::internal("a write panicked")))
}

fn tokenized(given: &Given) -> api::Tokenized<'static> {
    api::Tokenized { token: given.token.expose_text().into(), durability: given.durability }
}

fn detokenized<'a>(
    revealed: &'a Revealed,
    token: Option<Cow<'a, str>>,
) -> Result<api::Detokenized<'a>> {
    let value = match revealed.encoding {
        Encoding::Utf8 => str::from_utf8(revealed.expose())
            .map_err(|_| Failure::corrupted("a text value is not UTF-8"))?
            .into(),
        Encoding::Base64 => BASE64.encode(revealed.expose()).into(),
    };
    // Alone it is said in the head.
    let age = if token.is_some() { revealed.age } else { Age::default() };
    let (degraded, age) = answer::staleness(age);
    Ok(api::Detokenized { token, value, encoding: revealed.encoding, degraded, age })
}

static NAMESPACE: HeaderName = HeaderName::from_static(api::NAMESPACE_HEADER);
static PURPOSE: HeaderName = HeaderName::from_static(api::PURPOSE_HEADER);
static SESSION: HeaderName = HeaderName::from_static(api::SESSION_HEADER);
static IDEMPOTENCY: HeaderName = HeaderName::from_static(api::IDEMPOTENCY_HEADER);

fn one_header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    if headers.get_all(name).iter().nth(1).is_some() {
        return Err(invalid(format!("the header {name} stands twice")));
    }
    let text = str::from_utf8(value.as_bytes())
        .map_err(|_| invalid(format!("the header {name} is not text in UTF-8")))?;
    Ok(Some(text))
}

pub(crate) fn token(text: &str) -> Result<Token> {
    Token::parse(text).map_err(|error| Failure::new(Code::InvalidToken, error.to_string()))
}

pub(crate) fn session(text: &str) -> Result<Session> {
    Session::parse(text).map_err(|error| invalid(error.to_string()))
}

/// What a purpose or a note says; none where that is nothing. It is written down, so it must not hold what may not be.
fn recorded<'a>(text: &'a str, what: &str) -> Result<Option<&'a str>> {
    let said = text.trim();
    if said.len() > limits::RECORDED_BYTES {
        let most = limits::RECORDED_BYTES;
        return Err(invalid(format!("{what} has at most {most} bytes; say it in fewer")));
    }
    if said.chars().any(is_unseen) {
        return Err(invalid(format!(
            "{what} holds a control character, or one that is not seen; say it without"
        )));
    }
    if Token::is_within(said) {
        return Err(invalid(format!(
            "{what} holds a token, and is written into the audit trail or the log; say what it is for without it"
        )));
    }
    Ok(Some(said).filter(|said| !said.is_empty()))
}

/// What could make a line look like another one where people read it.
fn is_unseen(c: char) -> bool {
    let separators = ['\u{2028}', '\u{2029}', '\u{feff}'];
    let formats = ['\u{200b}'..='\u{200f}', '\u{202a}'..='\u{202e}', '\u{2060}'..='\u{206f}'];
    c.is_control() || separators.contains(&c) || formats.iter().any(|range| range.contains(&c))
}

fn duration(text: &str) -> Result<Duration> {
    words::duration(text).ok_or_else(|| {
        invalid("a duration is a whole number and one of ms, s, m, h, d, such as 720h")
    })
}

fn check_expiry(time: Duration) -> Result<()> {
    if time < Duration::from_millis(1) || time > limits::EXPIRES_IN {
        return Err(invalid(
            "expires_in is more than nothing and at most a hundred years (36500d)",
        ));
    }
    Ok(())
}

fn invalid(detail: impl Into<Cow<'static, str>>) -> Failure {
    Failure::new(Code::InvalidRequest, detail)
}

/// Milliseconds since the epoch as RFC 3339, which ends with the year 9999.
pub fn rfc3339(at: Millis) -> String {
    const LAST: Millis = 253_402_300_799_999;
    humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(at.min(LAST))).to_string()
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn a_write_runs_to_its_end_though_nobody_waits_for_it_any_more() {
        let (open_gate, gate) = oneshot::channel::<()>();
        let (say_done, done) = oneshot::channel::<()>();
        let write = async {
            let _ = gate.await;
            let _ = say_done.send(());
            answer::json(&())
        };
        let mut waiting = Box::pin(complete(write));
        assert!((&mut waiting).now_or_never().is_none());
        drop(waiting);
        open_gate.send(()).unwrap();
        done.await.unwrap();
    }

    #[tokio::test]
    async fn a_write_that_panics_fails_and_no_more() {
        let failure = complete::<Answer>(async { panic!("in a write") }).await.err().unwrap();
        assert_eq!(failure.code, Code::Internal);
    }
}
