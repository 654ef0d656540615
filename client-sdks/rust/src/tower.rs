//! A tower layer that gives each request a client of its own: under its user's session, within its trace, and with calls
//! that share a request of the socket.
//!
//! ```
//! # use lunasec_client::{Client, tower::LunaSecLayer};
//! # let lunasec = Client::builder().build()?;
//! let layer = LunaSecLayer::new(lunasec).session(|request| {
//!     let id = request.headers.get("x-session")?.to_str().ok()?;
//!     Some(id.to_owned().into())
//! });
//! # Ok::<(), lunasec_client::Error>(())
//! ```
//!
//! Take the session from what your application knows its user by (a signed cookie, a store of sessions, a claim), not from
//! what a user can simply write, as the header of this example is. The layer belongs behind what finds the session.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, request::Parts};
use tokio::time::Instant;

use crate::{
    Client, Error, ErrorKind, Mask, Policy, Session,
    error::Facts,
    limits::{DISPLAY_DEADLINE, HOPELESS_DEADLINE, PAGE_PATIENCE_BACK},
};

type Finder = Arc<dyn Fn(&Parts) -> Option<SessionOf> + Send + Sync>;

/// Whose request it is: the text that the application knows a user's session by, and the JWT that proves it where the
/// sidecar asks for one.
pub struct SessionOf {
    id: String,
    jwt: Option<String>,
}

impl SessionOf {
    /// With the user's JWT.
    #[must_use]
    pub fn with_jwt(self, jwt: impl Into<String>) -> Self {
        Self { jwt: Some(jwt.into()), ..self }
    }

    fn of(&self, client: &Client) -> Result<Session, Error> {
        let session = client.for_session(&self.id)?;
        match &self.jwt {
            Some(jwt) => session.with_jwt(jwt),
            None => Ok(session),
        }
    }
}

impl<T: Into<String>> From<T> for SessionOf {
    fn from(id: T) -> Self {
        Self { id: id.into(), jwt: None }
    }
}

impl fmt::Debug for SessionOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionOf(…)")
    }
}

/// What a request's extensions hold behind the layer.
#[derive(Clone)]
pub struct RequestClient(Arc<Inner>);

struct Inner {
    client: Client,
    /// The error of a session that cannot be one.
    session: Option<Result<Session, Error>>,
    page: Duration,
    /// Since when the page waits in vain for what it can do without.
    in_vain: Mutex<Option<Instant>>,
}

impl RequestClient {
    /// Under the request's session where it has one, else without.
    pub fn client(&self) -> Result<&Client, Error> {
        match &self.0.session {
            Some(Ok(session)) => Ok(session),
            Some(Err(error)) => Err(error.clone()),
            None => Ok(&self.0.client),
        }
    }

    /// The client of its session; `unauthenticated` where it has none.
    pub fn session(&self) -> Result<&Session, Error> {
        match &self.0.session {
            Some(Ok(session)) => Ok(session),
            Some(Err(error)) => Err(error.clone()),
            None => Err(Error::new(
                ErrorKind::Unauthenticated,
                "this request has no session: sign in first",
                Facts::default(),
            )),
        }
    }

    /// Makes a call that the page can do without: with a policy that stands in, and within the time that a page waits. That
    /// time runs from when the first call began that nobody could answer, not while calls are answered. Once it is over,
    /// each call has 50 ms, enough for a sidecar that is back; a request that goes on for long has it anew after 30 s.
    pub async fn for_page<P: Policy, T>(
        &self,
        policy: P,
        call: impl AsyncFnOnce(Client<P>) -> T,
    ) -> Result<T, Error> {
        let began = Instant::now();
        let waited = self.since().map_or(Duration::ZERO, |since| since.elapsed());
        let left = self.0.page.saturating_sub(waited).max(HOPELESS_DEADLINE);
        let in_vain = Arc::new(AtomicBool::new(false));
        let Client { mut view, policy } = self.client()?.with_deadline(left).with_policy(policy);
        view.in_vain = Some(Arc::clone(&in_vain));
        let result = call(Client { view, policy }).await;
        if in_vain.load(Ordering::Relaxed) {
            let mut since = self.since();
            *since = Some(since.map_or(began, |since| since.min(began)));
        }
        Ok(result)
    }

    /// Since when the page waits in vain, unless that is long ago.
    fn since(&self) -> MutexGuard<'_, Option<Instant>> {
        let mut since = self.0.in_vain.lock().unwrap_or_else(PoisonError::into_inner);
        since.take_if(|since| since.elapsed() > self.0.page.saturating_add(PAGE_PATIENCE_BACK));
        since
    }

    /// The same with a mask.
    pub async fn masked<T>(&self, call: impl AsyncFnOnce(Client<Mask>) -> T) -> Result<T, Error> {
        self.for_page(Mask::default(), call).await
    }
}

impl fmt::Debug for RequestClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RequestClient(…)")
    }
}

/// Puts a [`RequestClient`] into each request's extensions; see the [module](self).
#[derive(Clone)]
pub struct LunaSecLayer {
    client: Client,
    session: Finder,
    page: Duration,
}

impl LunaSecLayer {
    /// Without sessions, until one is asked for.
    #[expect(clippy::needless_pass_by_value, reason = "clones of a client are what it is for")]
    pub fn new(client: Client) -> Self {
        Self { client: client.gathering(), session: Arc::new(|_| None), page: DISPLAY_DEADLINE }
    }

    /// Gives the text that the application knows the request's session by, or nothing where there is none.
    #[must_use]
    pub fn session(
        self,
        find: impl Fn(&Parts) -> Option<SessionOf> + Send + Sync + 'static,
    ) -> Self {
        Self { session: Arc::new(find), ..self }
    }

    /// How long a page waits in vain for all that it can do without: 2 s.
    #[must_use]
    pub fn page_deadline(self, page: Duration) -> Self {
        Self { page, ..self }
    }

    fn request_client(&self, parts: &Parts) -> RequestClient {
        let trace = parts.headers.get("traceparent").and_then(|text| text.to_str().ok());
        let client = match trace {
            Some(trace) => self.client.in_trace(trace),
            None => self.client.clone(),
        };
        let session = (self.session)(parts).map(|session| session.of(&client));
        let in_vain = Mutex::default();
        RequestClient(Arc::new(Inner { client, session, page: self.page, in_vain }))
    }
}

impl fmt::Debug for LunaSecLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LunaSecLayer(…)")
    }
}

impl<S> tower_layer::Layer<S> for LunaSecLayer {
    type Service = LunaSecService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        LunaSecService { layer: self.clone(), inner }
    }
}

/// What [`LunaSecLayer`] makes of a service.
#[derive(Clone, Debug)]
pub struct LunaSecService<S> {
    layer: LunaSecLayer,
    inner: S,
}

impl<S, B> tower_service::Service<Request<B>> for LunaSecService<S>
where
    S: tower_service::Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> S::Future {
        let (mut parts, body) = request.into_parts();
        let client = self.layer.request_client(&parts);
        parts.extensions.insert(client);
        self.inner.call(Request::from_parts(parts, body))
    }
}
