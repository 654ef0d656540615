//! Who calls, and whether the policy lets it: everything that refuses a request before its body is
//! read. Replaced whole when the configuration is read again.

use std::{
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use lunasec_api::Code;
use lunasec_core::{
    ids::{Namespace, Session},
    policy::{Caller, Client, Denied, Missing, NOBODY, Operation, Policy, Proof, Unproven},
    rate::{Bucket, Rate},
};

use crate::{
    config,
    env::Clock,
    failure::Failure,
    sessions::{Sessions, bearer},
};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// A client of the policy, with what it has used up. Every request carries the one that made it.
#[derive(Debug)]
pub struct Guest {
    /// What it may do.
    pub client: Client,
    /// Shared with whoever had the same name before a reload: its requests may still be at work.
    used: Arc<Mutex<Used>>,
}

#[derive(Default, Debug)]
struct Used {
    requests: Bucket,
    reveals: Bucket,
}

impl AsRef<Client> for Guest {
    fn as_ref(&self) -> &Client {
        &self.client
    }
}

impl From<Client> for Guest {
    fn from(client: Client) -> Self {
        Self { client, used: Arc::default() }
    }
}

impl Guest {
    /// Counts one request.
    pub fn request(&self, now: Duration) -> Result<(), Failure> {
        let Some(rate) = rate(self.client.requests_per_second, SECOND) else { return Ok(()) };
        self.used().requests.take(rate, now).map_err(|wait| {
            Failure::new(Code::RateLimited, "this client makes too many requests per second")
                .after(wait)
        })
    }

    /// Counts one value on its way out: the brake on whoever would carry all of them away.
    pub fn reveal(&self, now: Duration) -> Result<(), Failure> {
        self.revealing(|reveals, rate| reveals.take(rate, now))
    }

    /// Refuses whoever could not reveal one now, before that costs anything.
    pub fn may_reveal(&self, now: Duration) -> Result<(), Failure> {
        self.revealing(|reveals, rate| reveals.has(rate, now))
    }

    fn revealing(
        &self,
        ask: impl FnOnce(&mut Bucket, Rate) -> Result<(), Duration>,
    ) -> Result<(), Failure> {
        let Some(rate) = rate(self.client.reveals_per_minute, MINUTE) else { return Ok(()) };
        ask(&mut self.used().reveals, rate).map_err(|wait| {
            Failure::new(Code::RateLimited, "this client reveals too many values per minute")
                .after(wait)
        })
    }

    /// Refuses to take its word for a session, where sessions are proven.
    pub fn may_name(
        &self,
        named: &Session,
        proven: Option<&Session>,
        in_body: bool,
    ) -> Result<(), Failure> {
        let proof = match proven {
            None => Proof::Missing,
            Some(proven) if proven == named => Proof::Same,
            Some(_) => Proof::Other,
        };
        self.client.may_name(proof, in_body).map_err(unproven)
    }

    fn used(&self) -> MutexGuard<'_, Used> {
        // Two moments, each written at once: a panic elsewhere leaves nothing half done.
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn rate(count: Option<NonZeroU32>, period: Duration) -> Option<Rate> {
    Some(Rate { count: count?, period })
}

/// See the module.
pub struct Access {
    policy: Policy<Guest>,
    sessions: Sessions,
    clock: Arc<dyn Clock>,
}

impl Access {
    /// The declared clients, and who proves sessions; `own_uid` is the user that the sidecar runs as.
    pub fn new(
        own_uid: u32,
        clients: &[Client],
        sessions: Sessions,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let clients = clients.iter().cloned().map(Guest::from);
        Self { policy: Policy::new(Client::own(own_uid).into(), clients), sessions, clock }
    }

    /// The same with other clients and issuers. Whoever has a name that was there before goes on with
    /// what it has used up: a reload is no way around a rate.
    pub fn renewed(&self, own_uid: u32, clients: &[Client], issuers: &[config::Issuer]) -> Self {
        let renewed = |client: &Client| {
            let same = |before: &&Arc<Guest>| before.client.name == client.name;
            let used = self.policy.clients().find(same).map(|before| Arc::clone(&before.used));
            Guest { client: client.clone(), used: used.unwrap_or_default() }
        };
        let policy = Policy::new(renewed(&Client::own(own_uid)), clients.iter().map(renewed));
        let sessions = self.sessions.renewed(issuers);
        Self { policy, sessions, clock: Arc::clone(&self.clock) }
    }

    /// Who this is, if it may do this in that namespace, or in its own; and where it does.
    pub fn admit(
        &self,
        caller: &Caller,
        operation: Operation,
        namespace: Option<Namespace>,
    ) -> Result<(Arc<Guest>, Namespace), Failure> {
        let admitted = self.policy.admit(caller, operation, namespace);
        let (guest, namespace) = admitted.map_err(|refused| match refused.denied {
            Denied::Client => stranger(caller),
            denied => forbidden(denied),
        })?;
        if operation != Operation::Status {
            guest.request(self.clock.monotonic())?;
        }
        Ok((Arc::clone(guest), namespace))
    }

    /// Who this is, whatever it may do.
    pub fn known(&self, caller: &Caller, operation: Operation) -> Option<&Arc<Guest>> {
        self.policy.client(caller, operation).ok()
    }

    /// What proves sessions.
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// Whose session a call is made in, by its `authorization` and by the session that it names. Where
    /// there are issuers, that of its JWT or none: then a name alone is nobody's word.
    pub async fn session(
        &self,
        guest: &Guest,
        authorization: Option<&str>,
        named: Option<Session>,
    ) -> Result<Option<Session>, Failure> {
        let proven = match authorization {
            Some(header) => Some(self.proven(header).await?),
            None => None,
        };
        if let Some(named) = &named
            && self.sessions.are_proven()
        {
            guest.may_name(named, proven.as_ref(), false)?;
        }
        Ok(proven.or(named))
    }

    async fn proven(&self, authorization: &str) -> Result<Session, Failure> {
        if !self.sessions.are_proven() {
            return Err(Failure::new(
                Code::Unauthenticated,
                "no [[sessions]] are configured that could prove a JWT; configure its issuer, or leave authorization out",
            ));
        }
        let jwt = bearer(authorization).ok_or_else(|| {
            Failure::new(Code::Unauthenticated, "authorization is not `Bearer` and a JWT")
        })?;
        self.sessions.prove(jwt).await
    }
}

fn unproven(why: Unproven) -> Failure {
    match why {
        Unproven::Missing => Failure::new(
            Code::Unauthenticated,
            "a session counts here only with its JWT (sessions are configured); send it in authorization, after `Bearer`",
        ),
        Unproven::Other => Failure::new(
            Code::Forbidden,
            "this is another session than the JWT's, and the policy does not give this client `grant_any_session`",
        ),
    }
}

/// Says whom no client fits, by the kernel's word: in a pod that is not always whom one expects.
fn stranger(caller: &Caller) -> Failure {
    let Caller { uid, gid, .. } = *caller;
    let who = match (uid, gid) {
        (NOBODY, _) | (_, NOBODY) => {
            "a user or group without a number in the sidecar's user namespace".to_owned()
        }
        _ => format!("uid {uid}, gid {gid}"),
    };
    let rule = "no client of the policy is this user and group";
    let advice = "declare one, or, with no clients declared, call as the sidecar's own user";
    Failure::new(Code::Forbidden, format!("{rule} ({who}); {advice}"))
}

/// Says which rule refused.
pub fn forbidden(denied: Denied) -> Failure {
    Failure::new(
        Code::Forbidden,
        match denied {
            Denied::Client => "no client of the policy is this user and group",
            Denied::Operation => "the policy's `operations` for this client do not allow this",
            Denied::Namespace => {
                "the policy's `namespaces` for this client do not hold this namespace"
            }
        },
    )
}

/// Says what an allowed call lacks.
pub fn missing(missing: Missing) -> Failure {
    match missing {
        Missing::Session => Failure::new(
            Code::Unauthenticated,
            "the policy asks this client for a grant; send the user's session in lunasec-session or, where sessions are configured, its JWT in authorization",
        ),
        Missing::Purpose => Failure::new(
            Code::InvalidRequest,
            "the policy asks this client for a purpose; say it in lunasec-purpose",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{env::SystemClock, telemetry::Telemetry};

    fn client(name: &str, requests: u32, reveals: u32) -> Client {
        Client {
            name: name.into(),
            requests_per_second: NonZeroU32::new(requests),
            reveals_per_minute: NonZeroU32::new(reveals),
            ..Client::own(7)
        }
    }

    fn refused(result: Result<(), Failure>) -> Option<Duration> {
        result.err().map(|failure| {
            assert_eq!(failure.code, Code::RateLimited);
            failure.retry_after().unwrap()
        })
    }

    #[test]
    fn requests_and_reveals_have_rates_of_their_own() {
        let guest = Guest::from(client("shop", 2, 3));
        let now = Duration::from_secs(9);
        assert_eq!((0..2).filter_map(|_| refused(guest.request(now))).count(), 0);
        assert_eq!(refused(guest.request(now)), Some(Duration::from_millis(500)));
        assert_eq!((0..3).filter_map(|_| refused(guest.reveal(now))).count(), 0);
        assert_eq!(refused(guest.reveal(now)), Some(Duration::from_secs(20)));
    }

    #[test]
    fn a_client_without_rates_has_no_bound() {
        let guest = Guest::from(client("shop", 0, 0));
        let all =
            (0..100_000).map(|_| guest.request(Duration::ZERO).and(guest.reveal(Duration::ZERO)));
        assert!(all.filter_map(refused).next().is_none());
    }

    #[test]
    fn a_reload_gives_nothing_back() {
        let caller = Caller { uid: 7, gid: 7, pid: None };
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        let telemetry = Arc::new(Telemetry::new(Arc::clone(&clock)));
        let sessions = Sessions::new(&[], telemetry, Arc::clone(&clock));
        let access = Access::new(1, &[client("shop", 1, 0)], sessions, clock);
        let one = |access: &Access| {
            access.admit(&caller, Operation::Detokenize, None).map(|_| ()).map_err(|no| no.code)
        };
        assert_eq!(one(&access), Ok(()));
        assert_eq!(one(&access), Err(Code::RateLimited));
        assert_eq!(one(&access.renewed(1, &[client("shop", 1, 0)], &[])), Err(Code::RateLimited));
        assert_eq!(one(&access.renewed(1, &[client("other", 1, 0)], &[])), Ok(()));
        // What is still at work under the old policy counts in the new one.
        let access = access.renewed(1, &[client("batch", 0, 2)], &[]);
        let reveal = |guest: &Guest| guest.reveal(Duration::from_secs(1)).is_ok();
        let at_work = access.admit(&caller, Operation::Detokenize, None).unwrap().0;
        let renewed = access.renewed(1, &[client("batch", 0, 2)], &[]);
        let next = renewed.admit(&caller, Operation::Detokenize, None).unwrap().0;
        assert_eq!(
            [reveal(&at_work), reveal(&next), reveal(&next), reveal(&at_work)],
            [true, true, false, false]
        );
    }
}
