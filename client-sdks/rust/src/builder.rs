use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use crate::{
    Client, Error, Fail,
    batcher::Batchers,
    context::{Context, bearer, header_value},
    engine::{Engine, Tracer},
    limits::{
        CONNECTION_RETRY_BUDGET, CONNECTIONS, DEFAULT_SOCKET, LONGEST, PAUSE, PAUSE_MOST,
        PENDING_CALLS, RESTART_GRACE, RETRY_BUDGET, SOCKET_VARIABLE, START_DEADLINE,
    },
    places::Places,
    retry::{Budget, Reachability, Shared},
    transport::Transport,
    view::{View, Way},
};

/// How a client is made. All of it has a default; what cannot be is refused by [`Builder::build`].
#[derive(Clone, Default)]
#[must_use]
pub struct Builder {
    socket: Option<PathBuf>,
    namespace: Option<String>,
    purpose: Option<String>,
    jwt: Option<String>,
    deadline: Option<Duration>,
    attempts: Option<u32>,
    pause: Option<Duration>,
    pause_most: Option<Duration>,
    retry_budget: Option<u32>,
    start_deadline: Option<Duration>,
    restart_grace: Option<Duration>,
    connections: Option<usize>,
    pending_calls: Option<usize>,
    tracer: Option<Tracer>,
}

macro_rules! options {
    ($($(#[$doc:meta])* $name:ident: $type:ty,)+) => {$(
        $(#[$doc])*
        pub fn $name(mut self, $name: $type) -> Self {
            self.$name = Some($name);
            self
        }
    )+};
}

impl Builder {
    /// The socket: `LUNASEC_SOCKET`, else `/run/lunasec/lunasec.sock`.
    pub fn socket(mut self, path: impl Into<PathBuf>) -> Self {
        self.socket = Some(path.into());
        self
    }

    /// Instead of the caller's default.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

    /// What values are for, for the audit record; the policy may ask for it.
    pub fn purpose(mut self, purpose: impl Into<String>) -> Self {
        self.purpose = Some(purpose.into());
        self
    }

    /// Speaks for whom this JWT proves.
    pub fn jwt(mut self, jwt: impl Into<String>) -> Self {
        self.jwt = Some(jwt.into());
        self
    }

    options! {
        /// For each whole call: 15 s, and 2 s where a policy stands in for an answer.
        deadline: Duration,
        /// Attempts of a call, the first included: 3; where a policy stands in for an answer, 1.
        attempts: u32,
        /// The longest pause before the second attempt: 50 ms. Each next one may be twice as long.
        pause: Duration,
        /// The longest pause of all: 1 s. The sidecar's own `retry_after_ms` comes on top.
        pause_most: Duration,
        /// Retries after answers that may have been saved up, for all calls together: 100. Ten successes save up one
        /// more. Connections that break have their own.
        retry_budget: u32,
        /// How long the first calls wait for the socket to be there, within their deadlines: 10 s.
        start_deadline: Duration,
        /// How long calls wait for the socket to come back, within their deadlines: 2 s.
        restart_grace: Duration,
        /// Connections to the socket, of each tokio runtime: 16.
        connections: usize,
        /// Calls under way in this process; more are refused as `overloaded`: 10,000. One session has half of them.
        pending_calls: usize,
    }

    /// Says to which trace a call belongs, as a W3C `traceparent`; asked with each call, in the task that makes it.
    pub fn tracer(mut self, tracer: impl Fn() -> Option<String> + Send + Sync + 'static) -> Self {
        self.tracer = Some(Arc::new(tracer));
        self
    }

    /// The client. It does not connect yet.
    pub fn build(self) -> Result<Client, Error> {
        let at_least_one = [
            ("attempts", self.attempts.map(|attempts| attempts as usize)),
            ("connections", self.connections),
            ("pending_calls", self.pending_calls),
        ];
        for (what, count) in at_least_one {
            if count == Some(0) {
                return Err(Error::invalid(format!("{what} is 0: it is a whole number from 1 on")));
            }
        }
        let context = Context {
            namespace: self
                .namespace
                .as_deref()
                .map(|text| header_value("namespace", text))
                .transpose()?,
            purpose: self
                .purpose
                .as_deref()
                .map(|text| header_value("purpose", text))
                .transpose()?,
            jwt: self.jwt.as_deref().map(bearer).transpose()?,
            session: None,
        };
        let (deadline, attempts) =
            (self.deadline.map(|deadline| deadline.min(LONGEST)), self.attempts);
        let context = Arc::new(context.checked()?);
        let engine = Arc::new(self.engine()?);
        let (trace, way, in_vain) = (None, Way::Apart, None);
        let view = View { engine, context, trace, deadline, attempts, way, in_vain };
        Ok(Client { view, policy: Fail })
    }

    fn engine(self) -> Result<Engine, Error> {
        let connections = self.connections.unwrap_or(CONNECTIONS);
        let breaks = CONNECTION_RETRY_BUDGET
            .max(u32::try_from(2 * connections.min(1 << 20)).unwrap_or(u32::MAX));
        Ok(Engine {
            transport: Transport::new(
                self.socket.unwrap_or_else(socket_of_environment),
                connections,
            )?,
            retry: Shared {
                answers: Budget::new(self.retry_budget.unwrap_or(RETRY_BUDGET)),
                breaks: Budget::new(breaks),
                reachability: Reachability::new(
                    self.start_deadline.unwrap_or(START_DEADLINE),
                    self.restart_grace.unwrap_or(RESTART_GRACE),
                ),
                pause: self.pause.unwrap_or(PAUSE),
                pause_most: self.pause_most.unwrap_or(PAUSE_MOST),
            },
            places: Places::new(self.pending_calls.unwrap_or(PENDING_CALLS)),
            batchers: Batchers::default(),
            tracer: self.tracer,
        })
    }
}

/// A variable that is there and empty says nothing.
fn socket_of_environment() -> PathBuf {
    let said = std::env::var_os(SOCKET_VARIABLE).filter(|path| !path.is_empty());
    said.map_or_else(|| DEFAULT_SOCKET.into(), PathBuf::from)
}

/// It may know a JWT.
impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("socket", &self.socket).finish_non_exhaustive()
    }
}
