use std::{collections::HashSet, ops::Deref};

use axum_core::extract::{FromRequest, FromRequestParts, Request};
use http::{StatusCode, header::CONTENT_TYPE, request::Parts};
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use super::{Problem, Protected, fields, raw::has_private_names};
use crate::{
    Client, Durability, Error, ErrorClass, ErrorKind, Plaintext, Session, StoredToken, Verdict,
    error::Facts,
    limits::{BATCH_ITEMS, REQUEST_BYTES},
    plain::Plain,
    token::looks_like_a_token,
    tower::RequestClient,
};

/// The client of a request: what the [layer](crate::tower::LunaSecLayer) put there. It speaks for the request's session
/// where there is one.
#[derive(Clone, Debug)]
pub struct LunaSec(pub(super) RequestClient, Client);

impl LunaSec {
    /// The client of the request's session; a 401 where it has none.
    pub fn session(&self) -> Result<&Session, Problem> {
        Ok(self.0.session()?)
    }

    /// What a page can do without; see [`RequestClient::for_page`].
    pub fn page(&self) -> &RequestClient {
        &self.0
    }

    fn of(parts: &Parts) -> Result<Self, Problem> {
        let Some(client) = parts.extensions.get::<RequestClient>() else {
            let words =
                "the LunaSecLayer is missing: add it to the router, behind what finds the session";
            return Err(Error::new(ErrorKind::Internal, words, Facts::default()).into());
        };
        let under = client.client()?.clone();
        Ok(Self(client.clone(), under))
    }
}

impl Deref for LunaSec {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.1
    }
}

impl<S: Sync> FromRequestParts<S> for LunaSec {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Self::of(parts)
    }
}

/// A JSON body whose [protected](Protected) fields came as values, and are tokens now: all of them, or the handler does not
/// run. A field that holds a token already is refused with 400: it may be somebody else's, which would become this
/// user's by being stored; so is the mask that is shown when a value is not available. A token in any other field is refused, too.
#[derive(Clone, Debug)]
pub struct TokenizedJson<T> {
    /// The body, with tokens in it.
    pub body: T,
    /// `Journaled` where any of it is.
    pub durability: Durability,
}

impl<T: DeserializeOwned + Protected, S: Sync> FromRequest<S> for TokenizedJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let lunasec = LunaSec::of(&parts)?;
        let mut data = json(&parts, body).await?;
        refuse_tokens(&fields::places::<T>(&mut data)?)?;
        fields::no_others(&data, &|_| false)?;
        let durability = tokenize(&lunasec, fields::places::<T>(&mut data)?).await?;
        Ok(Self { body: typed(data)?, durability })
    }
}

/// Tokens, and what is shown instead of values, are no values.
fn refuse_tokens(places: &[fields::Place<'_>]) -> Result<(), Problem> {
    for place in places {
        if place.text.as_str().is_some_and(looks_like_a_token) {
            let words = "holds a token where a value is expected";
            return Err(Problem::of_field(place.name, ErrorKind::InvalidRequest, words));
        }
        if Plaintext::from(text(place)).refuse_stand_ins().is_err() {
            let words = "holds what is shown instead of a value, not a value";
            return Err(Problem::of_field(place.name, ErrorKind::InvalidRequest, words));
        }
    }
    Ok(())
}

async fn tokenize(
    client: &Client,
    mut places: Vec<fields::Place<'_>>,
) -> Result<Durability, Problem> {
    let mut durability = Durability::Stored;
    for some in places.chunks_mut(BATCH_ITEMS) {
        let given = client.tokenize_batch(some.iter().map(text)).await?;
        for (place, outcome) in some.iter_mut().zip(given) {
            let tokenized = outcome.map_err(|error| of_field(place.name, error))?;
            durability = durability.max(tokenized.durability);
            *place.text = tokenized.token.expose().into();
        }
    }
    Ok(durability)
}

/// A value that is refused is the sender's to mend, where it is named.
fn of_field(name: &'static str, error: Error) -> Problem {
    match error.kind() {
        ErrorKind::PayloadTooLarge => Problem::of_field(name, error.kind(), "is too large"),
        _ => error.into(),
    }
}

fn text<'a>(place: &'a fields::Place<'_>) -> &'a str {
    place.text.as_str().unwrap_or_default()
}

/// A JSON body whose [protected](Protected) fields hold tokens that were **all** granted to the request's session; otherwise
/// it is a 403 (401 without a session), before the handler has done anything. Somebody else's token and one that never
/// was get the same answer; where nobody can say, it is a 503: what nobody knows is no yes. A token that is in the body
/// and in none of its protected fields is a 400.
#[derive(Clone, Debug)]
pub struct VerifiedJson<T>(pub T);

impl<T: DeserializeOwned + Protected, S: Sync> FromRequest<S> for VerifiedJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let lunasec = LunaSec::of(&parts)?;
        let session = lunasec.session()?;
        let mut data = json(&parts, body).await?;
        let places = fields::places::<T>(&mut data)?;
        let tokens = places.iter().map(|place| token(place)).collect::<Result<Vec<_>, _>>()?;
        let known: HashSet<&str> = tokens.iter().map(|token| token.expose()).collect();
        fields::no_others(&data, &|text| known.contains(text))?;
        verify(session, &tokens).await?;
        Ok(Self(typed(data)?))
    }
}

fn token(place: &fields::Place<'_>) -> Result<StoredToken, Problem> {
    let none = |_| Problem::of_field(place.name, ErrorKind::InvalidToken, "holds no token");
    StoredToken::try_from(text(place)).map_err(none)
}

/// Whether the session may use all of these; an error where it may not, or where nobody knows.
pub(super) async fn verify(session: &Session, tokens: &[StoredToken]) -> Result<(), Problem> {
    for some in tokens.chunks(BATCH_ITEMS) {
        for outcome in session.verify(some).await? {
            if let Some(error) = refusal(outcome) {
                return Err(error.into());
            }
        }
    }
    Ok(())
}

/// A token that never was, or is gone, is refused as somebody else's is: whoever tries tokens learns nothing.
fn refusal(outcome: Result<Verdict, Error>) -> Option<Error> {
    let (kind, words) = match outcome {
        Ok(Verdict::Valid { .. }) => return None,
        Err(error) if error.class() != ErrorClass::Gone => return Some(error),
        Ok(Verdict::Invalid { reason, .. }) if reason == "expired" => {
            (ErrorKind::GrantExpired, "the session was granted this token, and not any more")
        }
        _ => (ErrorKind::GrantDenied, "the session was not granted this token"),
    };
    Some(Error::new(kind, words, Facts::default()))
}

async fn json(parts: &Parts, body: axum_core::body::Body) -> Result<Json, Problem> {
    let kind =
        parts.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        return Err(Error::invalid("the body is not application/json").into());
    }
    let bytes = collected(body).await?;
    let Plain(data) =
        serde_json::from_slice(&bytes).map_err(|_| Error::invalid("the body is no JSON"))?;
    if has_private_names(&data) {
        // The type may read it otherwise than it was looked at.
        return Err(Error::invalid("the body holds a name that serde_json keeps for itself").into());
    }
    Ok(data)
}

async fn collected(body: axum_core::body::Body) -> Result<bytes::Bytes, Problem> {
    use http_body_util::{BodyExt, LengthLimitError, Limited};
    match Limited::new(body, REQUEST_BYTES).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            let words = "the body has more than 2 MiB";
            Err(Error::new(ErrorKind::PayloadTooLarge, words, Facts::default()).into())
        }
        Err(_) => Err(Error::invalid("the body broke off").into()),
    }
}

/// What serde says of it may quote it: it is not passed on.
fn typed<T: DeserializeOwned>(data: Json) -> Result<T, Problem> {
    serde_json::from_value(data)
        .map_err(|_| Error::invalid("the body is not what this route takes").into())
}

/// For answers that a handler makes by itself.
impl From<Problem> for StatusCode {
    fn from(problem: Problem) -> Self {
        problem.status()
    }
}
