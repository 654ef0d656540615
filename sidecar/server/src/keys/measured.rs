//! Counts and times every call to the keeper of keys, and notes whether it answers.

use std::{future::Future, sync::Arc};

use async_trait::async_trait;
use lunasec_core::secret::DataKey;

use super::{Context, KeyError, Wrapper};
use crate::telemetry::{Dependency, Request, THROTTLED, UNAVAILABLE};

/// See the module.
pub struct Measured<W> {
    inner: W,
    dependency: Arc<Dependency>,
}

impl<W> Measured<W> {
    /// Wraps a keeper.
    pub fn new(inner: W, dependency: Arc<Dependency>) -> Self {
        Self { inner, dependency }
    }

    async fn watch<T>(
        &self,
        asked: Request,
        call: impl Future<Output = Result<T, KeyError>>,
    ) -> Result<T, KeyError> {
        let asked = self.dependency.begin(asked);
        let result = call.await;
        match &result {
            Ok(_) => asked.answered("ok"),
            // A damaged blob is the store's fault: the keeper answered.
            Err(KeyError::Corrupted(_) | KeyError::Store(_)) => asked.answered("corrupted"),
            // Nobody was asked.
            Err(KeyError::Overloaded) => asked.shed(),
            Err(KeyError::Throttled(cause)) => asked.failed(THROTTLED, cause),
            Err(KeyError::Refused(cause)) => asked.failed("refused", cause),
            Err(KeyError::Unavailable(cause)) => asked.failed(UNAVAILABLE, cause),
        }
        result
    }
}

#[async_trait]
impl<W: Wrapper> Wrapper for Measured<W> {
    async fn make(&self, context: &Context<'_>) -> Result<(DataKey, Vec<u8>), KeyError> {
        self.watch(Request::write("make"), self.inner.make(context)).await
    }

    async fn unwrap(&self, context: &Context<'_>, wrapped: &[u8]) -> Result<DataKey, KeyError> {
        self.watch(Request::read("unwrap"), self.inner.unwrap(context, wrapped)).await
    }

    async fn rewrap(&self, context: &Context<'_>, wrapped: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.watch(Request::write("rewrap"), self.inner.rewrap(context, wrapped)).await
    }

    fn wrapped_under(&self, wrapped: &[u8]) -> Result<String, KeyError> {
        self.inner.wrapped_under(wrapped)
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use futures_util::FutureExt;
    use lunasec_core::ids::Namespace;

    use super::*;
    use crate::{env::FakeClock, keys::Purpose, telemetry::Telemetry};

    struct Hangs;

    #[async_trait]
    impl Wrapper for Hangs {
        async fn make(&self, _: &Context<'_>) -> Result<(DataKey, Vec<u8>), KeyError> {
            pending().await
        }

        async fn unwrap(&self, _: &Context<'_>, _: &[u8]) -> Result<DataKey, KeyError> {
            pending().await
        }

        async fn rewrap(&self, _: &Context<'_>, _: &[u8]) -> Result<Vec<u8>, KeyError> {
            pending().await
        }

        fn wrapped_under(&self, _: &[u8]) -> Result<String, KeyError> {
            Ok(String::new())
        }
    }

    #[test]
    fn a_call_that_is_given_up_is_counted() {
        let telemetry = Telemetry::new(Arc::new(FakeClock::default()));
        let keeper = Measured::new(Hangs, Arc::clone(&telemetry.keys));
        let namespace = Namespace::default();
        let context = Context { namespace: &namespace, key: "1", purpose: Purpose::Data };
        assert!(keeper.unwrap(&context, b"").now_or_never().is_none());
        assert!(keeper.make(&context).now_or_never().is_none());
        for operation in ["unwrap", "make"] {
            let labels = format!(r#"operation="{operation}",result="abandoned"}} 1"#);
            assert!(telemetry.render().contains(&labels), "{operation}");
        }
    }
}
