use std::{fmt, future::Future, sync::Arc, time::Duration};

use crate::{
    Builder, Deleted, Error, Fail, Mask, Metadata, MetadataWritten, NewValue, OrElse, Policy,
    Session, Status, Token, TokenLike, Tokenized, calls,
    context::{bearer, header_value},
    engine::traceparent,
    limits::{LONGEST, SESSION_BYTES},
    view::{View, Way},
};

/// The sidecar, from Rust.
///
/// Make one for each process, and clone it, which is cheap: connections, retries and batches are shared by all clones
/// and views (`in_namespace`, `for_session`, `masking`, …), which cost next to nothing. It connects with the first
/// call, waits for the sidecar to start, and does not notice when it restarts. Dropping the future of a call gives
/// it up.
///
/// `P` is its policy for reads when nobody can answer. With another than [`Fail`], a read comes to an enum that has to be
/// looked at before there is a value.
#[derive(Clone)]
pub struct Client<P: Policy = Fail> {
    pub(crate) view: View,
    pub(crate) policy: P,
}

impl Client {
    /// The sidecar at `LUNASEC_SOCKET`, else at `/run/lunasec/lunasec.sock`, and every default.
    pub fn from_env() -> Result<Self, Error> {
        Self::builder().build()
    }

    /// How a client is made; all of it has a default.
    pub fn builder() -> Builder {
        Builder::default()
    }
}

/// Views: the same client, with something otherwise.
impl<P: Policy> Client<P> {
    /// In another namespace than the caller's default.
    pub fn in_namespace(&self, namespace: &str) -> Result<Self, Error> {
        let namespace = header_value("namespace", namespace)?;
        self.saying(|context| context.namespace = Some(namespace))
    }

    /// For this purpose, for the audit record; the policy may ask for it.
    pub fn for_purpose(&self, purpose: &str) -> Result<Self, Error> {
        let purpose = header_value("purpose", purpose)?;
        self.saying(|context| context.purpose = Some(purpose))
    }

    /// Speaks for whom this JWT proves; see also [`Session::with_jwt`].
    pub fn with_jwt(&self, jwt: &str) -> Result<Self, Error> {
        let jwt = bearer(jwt)?;
        self.saying(|context| context.jwt = Some(jwt))
    }

    fn saying(&self, change: impl FnOnce(&mut crate::context::Context)) -> Result<Self, Error> {
        Ok(Self { view: self.view.saying(change)?, policy: self.policy.clone() })
    }

    /// For one session of one of your users: any text of 1 to 1,024 bytes that the application knows the user's session
    /// by, without control characters and without a space at either end. What is granted, verified and revealed is
    /// then the same session's.
    pub fn for_session(&self, session: &str) -> Result<Session<P>, Error> {
        let value = header_value("session", session)?;
        if session.len() > SESSION_BYTES {
            return Err(Error::invalid(
                "the session is longer than 1,024 bytes: name it by something shorter",
            ));
        }
        let client = self.saying(|context| context.session = Some(value))?;
        Ok(Session { client, session: Arc::from(session) })
    }

    /// Another deadline for each whole call, its retries included: 15 s unless said, and 2 s where a policy stands in for
    /// an answer. At most 24 days.
    #[must_use]
    pub fn with_deadline(&self, deadline: Duration) -> Self {
        let view = View { deadline: Some(deadline.min(LONGEST)), ..self.view.clone() };
        Self { view, policy: self.policy.clone() }
    }

    /// Calls that are made at once, and say the same of themselves, share a request of at most 1,000 items and 16 MiB:
    /// a hundred fields of a page are one call of the socket. A call waits until the tasks that are ready have run; each
    /// caller gets its own result or its own error, and neither a bad item nor somebody who leaves touches the
    /// others. `tokenize`, `detokenize`, `delete`, `grant` and `verify` do so; those with an idempotency key and
    /// the `…_batch` methods are always a request of their own.
    ///
    /// With many threads, calls that other threads make meanwhile may or may not go along: see
    /// [`Client::gathering_for`]. A call that is dropped leaves the others theirs.
    #[must_use]
    pub fn gathering(&self) -> Self {
        self.gathering_for(Duration::ZERO)
    }

    /// The same, for all calls of this time, which the first of them waits: some hundred microseconds gather what many
    /// threads ask.
    #[must_use]
    pub fn gathering_for(&self, window: Duration) -> Self {
        let view = View { way: Way::Gathered(window), ..self.view.clone() };
        Self { view, policy: self.policy.clone() }
    }

    /// Within this trace: the text of a W3C `traceparent`, which is sent along. What is none is left out. [`Builder::tracer`] asks for it with each call instead.
    #[must_use]
    pub fn in_trace(&self, text: &str) -> Self {
        Self {
            view: View { trace: traceparent(text), ..self.view.clone() },
            policy: self.policy.clone(),
        }
    }

    /// Reads show `••••` where nobody can answer.
    #[must_use]
    pub fn masking(&self) -> Client<Mask> {
        self.with_policy(Mask::default())
    }

    /// Reads ask this function where nobody can answer; it may take as long as the deadline again.
    #[must_use]
    pub fn or_else<F, Fut>(&self, fallback: F) -> Client<OrElse<F>>
    where
        F: Fn(Token, Error) -> Fut + Send + Sync + 'static,
        Fut: Future + Send,
        Fut::Output: Send,
    {
        self.with_policy(OrElse(Arc::new(fallback)))
    }

    /// Reads do this where nobody can answer: [`Fail`], or [`Mask::with`] a text of your own.
    #[must_use]
    pub fn with_policy<Q: Policy>(&self, policy: Q) -> Client<Q> {
        Client { view: self.view.clone(), policy }
    }
}

/// Calls.
impl<P: Policy> Client<P> {
    /// Tokenizes one value: text, bytes, a [`Plaintext`](crate::Plaintext), or a [`NewValue`] with what goes with it.
    ///
    /// No policy stands in for it: where nobody can take the value, it is an error.
    pub async fn tokenize(&self, value: impl Into<NewValue>) -> Result<Tokenized, Error> {
        calls::tokenize(self, value.into()).await
    }

    /// Tokenizes 1 to 1,000 values in one request of at most 16 MiB. Items fail each by itself; the call fails only if there
    /// was no answer for any.
    pub async fn tokenize_batch<V: Into<NewValue>>(
        &self,
        values: impl IntoIterator<Item = V>,
    ) -> Result<Vec<Result<Tokenized, Error>>, Error> {
        let values: Vec<NewValue> = values.into_iter().map(Into::into).collect();
        calls::tokenize_batch(self, &values, None).await
    }

    /// The same, under an idempotency key of your own; see [`NewValue::idempotency_key`]. The values and their order belong
    /// to it.
    pub async fn tokenize_batch_once<V: Into<NewValue>>(
        &self,
        idempotency_key: &str,
        values: impl IntoIterator<Item = V>,
    ) -> Result<Vec<Result<Tokenized, Error>>, Error> {
        let values: Vec<NewValue> = values.into_iter().map(Into::into).collect();
        calls::tokenize_batch(self, &values, Some(idempotency_key)).await
    }

    /// Reveals one value.
    pub async fn detokenize(&self, token: impl TokenLike) -> Result<P::Revealed, Error> {
        calls::detokenize(self, crate::token_like::token_of(&token)?).await
    }

    /// Reveals 1 to 1,000 values in one request. Items fail each by itself. Under a policy that stands in for an answer,
    /// it does so for each item that nobody can answer; otherwise the call fails if there was no answer for any.
    pub async fn detokenize_batch(
        &self,
        tokens: &[impl TokenLike],
    ) -> Result<Vec<Result<P::Revealed, Error>>, Error> {
        calls::detokenize_batch(self, calls::tokens_of(tokens)?).await
    }

    /// Reads what is kept beside a value.
    pub async fn metadata(&self, token: impl TokenLike) -> Result<Metadata, Error> {
        calls::metadata(self, &crate::token_like::token_of(&token)?).await
    }

    /// Replaces the whole of what is kept beside a value: a JSON object of at most 16 KiB.
    pub async fn set_metadata(
        &self,
        token: impl TokenLike,
        metadata: &impl serde::Serialize,
    ) -> Result<MetadataWritten, Error> {
        let metadata = crate::new_value::metadata_json(metadata)?;
        calls::set_metadata(self, &crate::token_like::token_of(&token)?, &metadata, None).await
    }

    /// The same only if this is still the version; [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) otherwise. It is not
    /// tried again where it may have been done.
    pub async fn set_metadata_if(
        &self,
        token: impl TokenLike,
        metadata: &impl serde::Serialize,
        version: u64,
    ) -> Result<MetadataWritten, Error> {
        let metadata = crate::new_value::metadata_json(metadata)?;
        calls::set_metadata(self, &crate::token_like::token_of(&token)?, &metadata, Some(version))
            .await
    }

    /// Deletes 1 to 1,000 values. A token that never had one is deleted too. Items fail each by itself.
    pub async fn delete(
        &self,
        tokens: &[impl TokenLike],
    ) -> Result<Vec<Result<Deleted, Error>>, Error> {
        calls::delete(self, calls::tokens_of(tokens)?).await
    }

    /// Waits until the sidecar answers; [`ErrorKind::SidecarUnreachable`](crate::ErrorKind::SidecarUnreachable) if it does
    /// not in time.
    pub async fn ready(&self) -> Result<(), Error> {
        self.status().await.map(drop)
    }

    /// What the sidecar says of itself and of what it needs.
    pub async fn status(&self) -> Result<Status, Error> {
        calls::status(self).await
    }
}

impl<P: Policy> fmt::Debug for Client<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client(…)")
    }
}
