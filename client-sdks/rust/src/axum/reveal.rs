use axum_core::response::{IntoResponse, Response};
use http::{
    HeaderName, HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};
use serde::Serialize;
use serde_json::Value as Json;

use super::{LunaSec, Problem, Protected, extract::verify, fields, raw::json_of};
use crate::{
    Error, ErrorClass, GrantOptions, Mask, Plaintext, Shown, StoredToken, Value, context::DEGRADED,
    limits::BATCH_ITEMS,
};

/// What can be done with protected data before it goes out.
impl LunaSec {
    /// An answer of this, with values where tokens are. A no to one field is a no to all of it; where nobody can answer it
    /// is a 503.
    pub async fn reveal<T: Serialize + Protected + ?Sized>(
        &self,
        data: &T,
    ) -> Result<RevealedJson, Problem> {
        let mut json = serialized(data)?;
        let mut marks = Marks::default();
        let mut places = fields::places::<T>(&mut json)?;
        for some in places.chunks_mut(BATCH_ITEMS) {
            let tokens = some.iter().map(token).collect::<Result<Vec<_>, _>>()?;
            let outcomes = (**self).detokenize_batch(&tokens).await?;
            for (place, outcome) in some.iter_mut().zip(outcomes) {
                *place.text = marks.value(&outcome?).into();
            }
        }
        Ok(RevealedJson { json, marks })
    }

    /// The same for a page that loads anyway: what nobody can answer is masked, and all of it waits for two seconds at most.
    /// The header `lunasec-degraded` says so.
    pub async fn reveal_or_mask<T: Serialize + Protected + ?Sized>(
        &self,
        data: &T,
    ) -> Result<RevealedJson, Problem> {
        self.reveal_or(Mask::default(), data).await
    }

    /// The same with a mask of your own.
    pub async fn reveal_or<T: Serialize + Protected + ?Sized>(
        &self,
        mask: Mask,
        data: &T,
    ) -> Result<RevealedJson, Problem> {
        let mut json = serialized(data)?;
        let mut marks = Marks::default();
        let mut places = fields::places::<T>(&mut json)?;
        for some in places.chunks_mut(BATCH_ITEMS) {
            let tokens = some.iter().map(token).collect::<Result<Vec<_>, _>>()?;
            let read = async |client: crate::Client<Mask>| client.detokenize_batch(&tokens).await;
            let outcomes = self.page().for_page(mask.clone(), read).await??;
            for (place, outcome) in some.iter_mut().zip(outcomes) {
                *place.text = match outcome? {
                    Shown::Value(value) => marks.value(&value),
                    Shown::Masked(masked) => marks.masked(masked),
                }
                .into();
            }
        }
        Ok(RevealedJson { json, marks })
    }

    /// Grants the tokens in this to the request's session, so that the user may see them and hand them in again. Grant what
    /// comes from your own data: whoever grants what they were handed in gives whoever knows a token the right to it.
    pub async fn grant<T: Serialize + Protected + ?Sized>(&self, data: &T) -> Result<(), Problem> {
        self.grant_with(data, &GrantOptions::default()).await
    }

    /// The same, for another time or with other rights.
    pub async fn grant_with<T: Serialize + Protected + ?Sized>(
        &self,
        data: &T,
        options: &GrantOptions,
    ) -> Result<(), Problem> {
        let session = self.session()?;
        for some in tokens_in(data)?.chunks(BATCH_ITEMS) {
            for outcome in session.grant_with(some, options.clone()).await? {
                outcome?;
            }
        }
        Ok(())
    }

    /// Passes only if the request's session was granted every token in this.
    pub async fn verify<T: Serialize + Protected + ?Sized>(&self, data: &T) -> Result<(), Problem> {
        verify(self.session()?, &tokens_in(data)?).await
    }
}

fn serialized<T: Serialize + ?Sized>(data: &T) -> Result<Json, Problem> {
    // What it says may quote the data.
    json_of(data)
        .map_err(|_| internal("the answer cannot be written as JSON: look at its Serialize"))
}

/// The application's own data, which nobody who asks could mend.
fn internal(words: &str) -> Problem {
    Error::new(crate::ErrorKind::Internal, words, crate::error::Facts::default()).into()
}

fn token(place: &fields::Place<'_>) -> Result<StoredToken, Problem> {
    let text = place.text.as_str().unwrap_or_default();
    let none = |_| internal(&format!("{} holds no token: was a value stored instead?", place.name));
    StoredToken::try_from(text).map_err(none)
}

fn tokens_in<T: Serialize + Protected + ?Sized>(data: &T) -> Result<Vec<StoredToken>, Problem> {
    let mut json = serialized(data)?;
    fields::places::<T>(&mut json)?.iter().map(token).collect()
}

/// How much of an answer is not as it should be.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Marks {
    /// Why: `storage`, `keys`, or the code of an error such as `sidecar_unreachable`. Also in the header
    /// `lunasec-degraded`.
    pub reasons: Vec<String>,
    /// How many fields show something else instead of their value.
    pub masked: usize,
}

impl Marks {
    fn because(&mut self, reason: &str) {
        if !self.reasons.iter().any(|known| known == reason) {
            self.reasons.push(reason.to_owned());
        }
    }

    fn value(&mut self, value: &Value) -> String {
        if let Some(staleness) = &value.staleness {
            staleness.degraded.split(',').for_each(|reason| self.because(reason));
        }
        written(&value.plaintext)
    }

    fn masked(&mut self, masked: crate::Masked) -> String {
        self.masked += 1;
        self.because(masked.error.code());
        masked.text
    }
}

/// Bytes as base64.
fn written(plaintext: &Plaintext) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    match plaintext.text() {
        Some(text) => text.to_owned(),
        None => STANDARD.encode(plaintext.reveal_bytes()),
    }
}

/// A JSON answer with values in it: `cache-control: no-store`, and marked where it is degraded.
pub struct RevealedJson {
    json: Json,
    marks: Marks,
}

impl RevealedJson {
    /// How much of it is not as it should be.
    pub fn marks(&self) -> &Marks {
        &self.marks
    }

    /// The data, for what is rendered otherwise than as JSON.
    pub fn into_data(self) -> Json {
        self.json
    }
}

impl std::fmt::Debug for RevealedJson {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RevealedJson").field("marks", &self.marks).finish_non_exhaustive()
    }
}

impl IntoResponse for RevealedJson {
    fn into_response(self) -> Response {
        let headers = [
            (CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        ];
        let mut response = (StatusCode::OK, headers, self.json.to_string()).into_response();
        let reasons = HeaderValue::from_str(&self.marks.reasons.join(","));
        if let (false, Ok(reasons)) = (self.marks.reasons.is_empty(), reasons) {
            response.headers_mut().insert(HeaderName::from(&DEGRADED), reasons);
        }
        response
    }
}

/// Errors of one field are those of the whole, and say nothing about whose it is.
impl Problem {
    /// Whether nobody can answer just now.
    pub fn is_unavailable(&self) -> bool {
        self.error().class() == ErrorClass::Unavailable
    }
}
