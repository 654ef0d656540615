//! What a read comes to when nobody can answer it: the sidecar, its storage or its keys are away. Never when the answer is
//! no: `grant_denied`, `forbidden`, `not_found`, `rate_limited` and all other codes are errors whatever is chosen.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::time::timeout;

use crate::{
    Error, Fallback, Masked, Shown, Token, Value, ValueOr,
    error::{ErrorKind, Facts},
    limits::MASK,
};

/// What a client does about reads that nobody can answer: [`Fail`], [`Mask`] or [`OrElse`]. It decides the type of
/// what they come to, so that the compiler asks for a look before there is a value.
pub trait Policy: sealed::Sealed + Clone + Send + Sync + 'static {
    /// What a read comes to.
    type Revealed: Send;

    /// Whether a call shows something else instead of waiting for better times.
    #[doc(hidden)]
    const STANDS_IN: bool;

    #[doc(hidden)]
    fn value(value: Value) -> Self::Revealed;

    /// What stands in for the value; the error where nothing may.
    #[doc(hidden)]
    fn stand_in(
        &self,
        token: Token,
        error: Error,
        deadline: Duration,
    ) -> impl Future<Output = Result<Self::Revealed, Error>> + Send;
}

mod sealed {
    pub trait Sealed {}
}

/// Reads fail with [`ErrorClass::Unavailable`](crate::ErrorClass::Unavailable). The default.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fail;

impl sealed::Sealed for Fail {}

impl Policy for Fail {
    type Revealed = Value;
    const STANDS_IN: bool = false;

    fn value(value: Value) -> Value {
        value
    }

    async fn stand_in(&self, _: Token, error: Error, _: Duration) -> Result<Value, Error> {
        Err(error)
    }
}

/// Reads show a text instead of the value; see [`Client::masking`](crate::Client::masking).
#[derive(Clone, Debug)]
pub struct Mask(Arc<str>);

impl Default for Mask {
    fn default() -> Self {
        Self(MASK.into())
    }
}

impl Mask {
    /// Another text than `••••`.
    pub fn with(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }
}

impl sealed::Sealed for Mask {}

impl Policy for Mask {
    type Revealed = Shown;
    const STANDS_IN: bool = true;

    fn value(value: Value) -> Shown {
        Shown::Value(value)
    }

    async fn stand_in(&self, token: Token, error: Error, _: Duration) -> Result<Shown, Error> {
        if !error.is_unavailable() {
            return Err(error);
        }
        Ok(Shown::Masked(Masked { token, text: self.0.as_ref().to_owned(), error }))
    }
}

/// Reads ask a function instead; see [`Client::or_else`](crate::Client::or_else).
pub struct OrElse<F>(pub(crate) Arc<F>);

impl<F> Clone for OrElse<F> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<F> sealed::Sealed for OrElse<F> {}

impl<F, Fut> Policy for OrElse<F>
where
    F: Fn(Token, Error) -> Fut + Send + Sync + 'static,
    Fut: Future + Send,
    Fut::Output: Send,
{
    type Revealed = ValueOr<Fut::Output>;
    const STANDS_IN: bool = true;

    fn value(value: Value) -> ValueOr<Fut::Output> {
        ValueOr::Value(value)
    }

    /// Its time begins anew: what the call had may have gone by waiting for the sidecar.
    async fn stand_in(
        &self,
        token: Token,
        error: Error,
        deadline: Duration,
    ) -> Result<ValueOr<Fut::Output>, Error> {
        if !error.is_unavailable() {
            return Err(error);
        }
        match timeout(deadline, (self.0)(token.clone(), error.clone())).await {
            Ok(value) => Ok(ValueOr::Fallback(Fallback { token, value, error })),
            Err(_) => Err(late(deadline, &error)),
        }
    }
}

fn late(deadline: Duration, error: &Error) -> Error {
    let detail = format!(
        "the fallback gave nothing within {} ms: let it give up sooner, or raise the deadline; it was asked because of {}",
        deadline.as_millis(),
        error.code()
    );
    Error::new(ErrorKind::DeadlineExceeded, detail, Facts { retryable: true, ..Facts::default() })
}
