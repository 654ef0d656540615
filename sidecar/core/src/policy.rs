//! Who may do what, where. Pure, so that `lunasec policy test` and the sidecar decide by the same lines.
//!
//! Clients are tried in the order of the configuration, and the first that fits the caller decides
//! alone. With no clients declared there is one: the sidecar's own user, who may do everything. Beside
//! the declared ones the own user may still ask how the sidecar is, and sweep; neither reaches a value.

use std::{num::NonZeroU32, sync::Arc};

use crate::ids::Namespace;

/// The process at the other end of the socket, as the kernel reports it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Caller {
    /// Effective user id when it connected.
    pub uid: u32,
    /// Effective group id when it connected.
    pub gid: u32,
    /// Process id, while that very process is proven alive. For people: nothing is decided by it.
    pub pid: Option<i32>,
}

/// The user or group of a caller who has none that could be told from another's; no client can be it.
pub const NOBODY: u32 = u32::MAX;

/// What a caller can ask for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Operation {
    /// Seal and store a value.
    Tokenize,
    /// Reveal a value.
    Detokenize,
    /// Read or replace a token's metadata.
    Metadata,
    /// Create, verify or revoke grants.
    Grants,
    /// Replace a token's record by a tombstone.
    Delete,
    /// Remove what has expired.
    Sweep,
    /// Mint a token whose reveal raises an alarm.
    Canaries,
    /// Ask how the sidecar is.
    Status,
}

impl Operation {
    /// What a client can be allowed to do.
    pub const GRANTABLE: [Self; 5] =
        [Self::Tokenize, Self::Detokenize, Self::Metadata, Self::Grants, Self::Delete];

    /// Everything that can be asked for.
    pub const ALL: [Self; 8] = [
        Self::Tokenize,
        Self::Detokenize,
        Self::Metadata,
        Self::Grants,
        Self::Delete,
        Self::Status,
        Self::Sweep,
        Self::Canaries,
    ];

    /// As the configuration writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tokenize => "tokenize",
            Self::Detokenize => "detokenize",
            Self::Metadata => "metadata",
            Self::Grants => "grants",
            Self::Delete => "delete",
            Self::Sweep => "sweep",
            Self::Canaries => "canaries",
            Self::Status => "status",
        }
    }

    /// Whether only the sidecar's own user may ask for it: whoever operates it, and no application.
    pub const fn is_own(self) -> bool {
        matches!(self, Self::Sweep | Self::Canaries)
    }

    /// Reads what a client can be allowed to do.
    pub fn parse(text: &str) -> Option<Self> {
        Self::GRANTABLE.into_iter().find(|operation| operation.as_str() == text)
    }
}

/// Where a client may work.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Namespaces {
    /// Everywhere; without one named, in the default namespace.
    Any,
    /// In these; without one named, in the first.
    These(Vec<Namespace>),
}

/// One declared client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Client {
    /// For people, metrics and the audit trail.
    pub name: String,
    /// The user it runs as; none for any, as long as the group fits.
    pub uid: Option<u32>,
    /// The group it runs as; none for any, as long as the user fits.
    pub gid: Option<u32>,
    /// Where it may work.
    pub namespaces: Namespaces,
    /// What it may do there.
    pub operations: Vec<Operation>,
    /// Whether revealing, reading, changing and deleting need a grant of the user's session.
    pub require_grant: bool,
    /// Whether revealing needs a purpose.
    pub require_purpose: bool,
    /// Whether it may grant to other sessions than that of the JWT it shows.
    pub grant_any_session: bool,
    /// Requests it may make, over time.
    pub requests_per_second: Option<NonZeroU32>,
    /// Values it may reveal, over time.
    pub reveals_per_minute: Option<NonZeroU32>,
}

impl Client {
    /// The name of the client that stands for the sidecar's own user.
    pub const OWN: &'static str = "own user";

    /// Everything, for one user.
    pub fn own(uid: u32) -> Self {
        Self {
            name: Self::OWN.into(),
            uid: Some(uid),
            gid: None,
            namespaces: Namespaces::Any,
            operations: Operation::GRANTABLE.into(),
            require_grant: false,
            require_purpose: false,
            grant_any_session: true,
            requests_per_second: None,
            reveals_per_minute: None,
        }
    }

    /// Whether a caller is this client. One without user and group is nobody.
    pub fn fits(&self, caller: &Caller) -> bool {
        let fits = |wanted: Option<u32>, is: u32| wanted.is_none_or(|wanted| wanted == is);
        (self.uid.is_some() || self.gid.is_some())
            && fits(self.uid, caller.uid)
            && fits(self.gid, caller.gid)
    }

    /// Whether whoever is `other` is this client too, so that `other` behind it is never reached.
    pub fn shadows(&self, other: &Self) -> bool {
        let covers = |wide: Option<u32>, narrow: Option<u32>| wide.is_none() || wide == narrow;
        covers(self.uid, other.uid) && covers(self.gid, other.gid)
    }

    /// Where it works unless it names a namespace.
    pub fn default_namespace(&self) -> Namespace {
        match &self.namespaces {
            Namespaces::Any => Namespace::default(),
            Namespaces::These(names) => names.first().cloned().unwrap_or_default(),
        }
    }

    /// Whether it may name a session, where sessions are proven: in the body of a grant whichever it is
    /// trusted with, beside a call its JWT's.
    pub fn may_name(&self, proof: Proof, in_body: bool) -> Result<(), Unproven> {
        match proof {
            Proof::Same => Ok(()),
            Proof::Missing if !(in_body && self.grant_any_session) => Err(Unproven::Missing),
            Proof::Other if !self.grant_any_session => Err(Unproven::Other),
            Proof::Missing | Proof::Other => Ok(()),
        }
    }

    /// What a call of this kind has to bring along.
    pub fn needs(&self, operation: Operation) -> Needs {
        use Operation::{Delete, Detokenize, Metadata};
        Needs {
            grant: self.require_grant && matches!(operation, Detokenize | Metadata | Delete),
            purpose: self.require_purpose && operation == Detokenize,
        }
    }

    /// Whether it may do this there, and if not, which rule says so.
    pub fn may(&self, operation: Operation, namespace: &Namespace) -> Result<(), Denied> {
        if operation == Operation::Status {
            return Ok(());
        }
        // None of these reaches a value, and only the own user gets as far as the others.
        if !operation.is_own() && !self.operations.contains(&operation) {
            return Err(Denied::Operation);
        }
        match &self.namespaces {
            Namespaces::These(names) if !names.contains(namespace) => Err(Denied::Namespace),
            _ => Ok(()),
        }
    }
}

/// Which rule refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Denied {
    /// No client fits the caller.
    #[error("no client of the policy fits this user and group")]
    Client,
    /// Its `operations` do not name it.
    #[error("the client's `operations` do not allow this")]
    Operation,
    /// Its `namespaces` do not name it.
    #[error("the client's `namespaces` do not hold this one")]
    Namespace,
}

/// What a call has to bring along where it is allowed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Needs {
    /// A grant of the user's session, and so a session.
    pub grant: bool,
    /// A purpose.
    pub purpose: bool,
}

impl Needs {
    /// What is missing of it, before any grant is looked for.
    pub fn missing(self, session: bool, purpose: bool) -> Option<Missing> {
        match self {
            Self { grant: true, .. } if !session => Some(Missing::Session),
            Self { purpose: true, .. } if !purpose => Some(Missing::Purpose),
            _ => None,
        }
    }
}

/// What an allowed call lacks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Missing {
    /// The session whose grant is needed.
    #[error("`require_grant` without a session")]
    Session,
    /// The purpose.
    #[error("`require_purpose` without a purpose")]
    Purpose,
}

/// How a session that a call names stands to the one that its JWT proves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Proof {
    /// It shows no JWT.
    Missing,
    /// It is that one.
    Same,
    /// It is another.
    Other,
}

/// Why a session does not count, where sessions are proven.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unproven {
    /// Nothing proves it.
    #[error("a session without its JWT")]
    Missing,
    /// The JWT proves another.
    #[error("another session than the JWT's, without `grant_any_session`")]
    Other,
}

/// A refusal, and whom it met.
#[derive(Debug)]
pub struct Refused<'a, C> {
    /// The client; none where the caller is none.
    pub client: Option<&'a Arc<C>>,
    /// Which rule refused.
    pub denied: Denied,
}

impl AsRef<Client> for Client {
    fn as_ref(&self) -> &Client {
        self
    }
}

/// The rules in force: clients, or clients and what they have used up.
#[derive(Clone, Debug)]
pub struct Policy<C = Client> {
    own: Arc<C>,
    clients: Vec<Arc<C>>,
}

impl<C: AsRef<Client>> Policy<C> {
    /// The declared clients, in order, beside the one that stands for the own user.
    pub fn new(own: C, clients: impl IntoIterator<Item = C>) -> Self {
        Self { own: Arc::new(own), clients: clients.into_iter().map(Arc::new).collect() }
    }

    /// Every client, the own user last.
    pub fn clients(&self) -> impl Iterator<Item = &Arc<C>> {
        self.clients.iter().chain([&self.own])
    }

    /// Who a caller is, for what it wants to do.
    pub fn client(&self, caller: &Caller, operation: Operation) -> Result<&Arc<C>, Denied> {
        let fits = |client: &&Arc<C>| (***client).as_ref().fits(caller);
        let own = || Some(&self.own).filter(fits);
        match operation {
            _ if operation.is_own() => own(),
            Operation::Status => self.clients.iter().find(fits).or_else(own),
            _ if self.clients.is_empty() => own(),
            _ => self.clients.iter().find(fits),
        }
        .ok_or(Denied::Client)
    }

    /// Who a caller is and where it works, without a namespace named in its own, if it may do this
    /// there.
    pub fn admit(
        &self,
        caller: &Caller,
        operation: Operation,
        namespace: Option<Namespace>,
    ) -> Result<(&Arc<C>, Namespace), Refused<'_, C>> {
        let refused = |client| move |denied| Refused { client, denied };
        let client = self.client(caller, operation).map_err(refused(None))?;
        let rules = (**client).as_ref();
        let namespace = namespace.unwrap_or_else(|| rules.default_namespace());
        rules.may(operation, &namespace).map_err(refused(Some(client)))?;
        Ok((client, namespace))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn caller(uid: u32, gid: u32) -> Caller {
        Caller { uid, gid, pid: None }
    }

    fn client(name: &str, uid: Option<u32>, gid: Option<u32>) -> Client {
        let namespaces = Namespaces::These(vec![Namespace::parse("shop").unwrap()]);
        let operations = vec![Operation::Tokenize, Operation::Detokenize];
        let grant_any_session = false;
        Client {
            name: name.into(),
            uid,
            gid,
            namespaces,
            operations,
            grant_any_session,
            ..Client::own(0)
        }
    }

    fn name_of(policy: &Policy, caller: Caller, operation: Operation) -> Result<&str, Denied> {
        policy.client(&caller, operation).map(|client| client.name.as_str())
    }

    #[test]
    fn without_clients_only_the_own_user_may_call() {
        let policy = Policy::new(Client::own(1000), []);
        for operation in Operation::ALL {
            assert_eq!(name_of(&policy, caller(1000, 7), operation), Ok(Client::OWN));
            for other in [0, 999, 1001] {
                assert_eq!(name_of(&policy, caller(other, 1000), operation), Err(Denied::Client));
            }
        }
        let own = Client::own(1000);
        for operation in Operation::GRANTABLE {
            assert_eq!(own.may(operation, &Namespace::parse("anywhere").unwrap()), Ok(()));
        }
    }

    #[test]
    fn with_clients_the_own_user_may_sweep_mint_canaries_and_ask_and_no_more() {
        let policy = Policy::new(Client::own(1000), [client("shop", Some(10), None)]);
        let own = caller(1000, 1000);
        for operation in Operation::GRANTABLE {
            assert_eq!(name_of(&policy, own, operation), Err(Denied::Client));
        }
        for operation in [Operation::Sweep, Operation::Canaries] {
            assert_eq!(name_of(&policy, own, operation), Ok(Client::OWN));
            assert_eq!(name_of(&policy, caller(10, 1), operation), Err(Denied::Client));
        }
        assert_eq!(name_of(&policy, own, Operation::Status), Ok(Client::OWN));
        assert_eq!(name_of(&policy, caller(10, 1), Operation::Status), Ok("shop"));
    }

    #[test]
    fn the_first_client_that_fits_decides() {
        let both = client("both", Some(10), Some(20));
        let (user, group) = (client("user", Some(10), None), client("group", None, Some(20)));
        let policy = Policy::new(Client::own(1), [both, user, group, client("nobody", None, None)]);
        let name = |uid, gid| name_of(&policy, caller(uid, gid), Operation::Tokenize);
        assert_eq!(name(10, 20), Ok("both"));
        assert_eq!(name(10, 21), Ok("user"));
        assert_eq!(name(11, 20), Ok("group"));
        assert_eq!(name(11, 21), Err(Denied::Client));
    }

    #[test]
    fn a_client_works_where_and_does_what_it_may() {
        let shop = client("shop", Some(10), None);
        let (inside, outside) = (Namespace::parse("shop").unwrap(), Namespace::default());
        assert_eq!(shop.default_namespace(), inside);
        assert_eq!(shop.may(Operation::Detokenize, &inside), Ok(()));
        assert_eq!(shop.may(Operation::Detokenize, &outside), Err(Denied::Namespace));
        for operation in [Operation::Metadata, Operation::Grants, Operation::Delete] {
            assert_eq!(shop.may(operation, &inside), Err(Denied::Operation));
        }
    }

    #[test]
    fn a_caller_works_in_its_own_namespace_unless_it_names_one() {
        let policy = Policy::new(Client::own(1), [client("shop", Some(10), None)]);
        let admit = |uid, operation, namespace: Option<&str>| {
            let namespace = namespace.map(|name| Namespace::parse(name).unwrap());
            let who = |client: &Arc<Client>| client.name.clone();
            match policy.admit(&caller(uid, 1), operation, namespace) {
                Ok((client, namespace)) => Ok((who(client), namespace.as_str().to_owned())),
                Err(refused) => Err((refused.client.map(who), refused.denied)),
            }
        };
        let shop = || Some("shop".to_owned());
        let inside = Ok(("shop".to_owned(), "shop".to_owned()));
        assert_eq!(admit(10, Operation::Tokenize, None), inside);
        assert_eq!(admit(10, Operation::Tokenize, Some("shop")), inside);
        assert_eq!(admit(10, Operation::Tokenize, Some("other")), Err((shop(), Denied::Namespace)));
        assert_eq!(admit(10, Operation::Delete, None), Err((shop(), Denied::Operation)));
        assert_eq!(admit(11, Operation::Tokenize, None), Err((None, Denied::Client)));
    }

    #[test]
    fn what_reveals_or_changes_needs_a_grant_and_what_reveals_a_purpose() {
        let strict = Client { require_grant: true, require_purpose: true, ..Client::own(1) };
        let needs = |operation| {
            let Needs { grant, purpose } = strict.needs(operation);
            (grant, purpose)
        };
        assert_eq!(needs(Operation::Detokenize), (true, true));
        assert_eq!(needs(Operation::Metadata), (true, false));
        assert_eq!(needs(Operation::Delete), (true, false));
        let restricted = [Operation::Detokenize, Operation::Metadata, Operation::Delete];
        for open in Operation::ALL.into_iter().filter(|it| !restricted.contains(it)) {
            assert_eq!(needs(open), (false, false), "{open:?}");
        }
        for operation in Operation::ALL {
            let free = Needs { grant: false, purpose: false };
            assert_eq!(Client::own(1).needs(operation), free);
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let missing = |grant, purpose, has_session, has_purpose| {
            Needs { grant, purpose }.missing(has_session, has_purpose)
        };
        assert_eq!(missing(true, true, false, true), Some(Missing::Session));
        assert_eq!(missing(true, true, true, false), Some(Missing::Purpose));
        assert_eq!(missing(true, true, true, true), None);
        assert_eq!(missing(false, true, false, false), Some(Missing::Purpose));
        assert_eq!(missing(false, false, false, false), None);
    }

    #[test]
    fn operations_are_read_as_they_are_written() {
        for operation in Operation::GRANTABLE {
            assert_eq!(Operation::parse(operation.as_str()), Some(operation));
        }
        for no in ["", "sweep", "canaries", "status", "Tokenize", "*"] {
            assert_eq!(Operation::parse(no), None, "{no}");
        }
    }

    fn id() -> impl Strategy<Value = Option<u32>> {
        proptest::option::of(0u32..3)
    }

    proptest! {
        #[test]
        fn what_is_shadowed_is_never_reached(
            ids in proptest::collection::vec((id(), id()), 1..6),
            uid in 0u32..4,
            gid in 0u32..4,
        ) {
            let ids: Vec<_> = ids.into_iter().filter(|(u, g)| u.is_some() || g.is_some()).collect();
            let clients: Vec<_> =
                ids.iter().enumerate().map(|(at, (u, g))| client(&at.to_string(), *u, *g)).collect();
            prop_assume!(!clients.is_empty());
            let policy = Policy::new(Client::own(99), clients.clone());
            if let Ok(name) = name_of(&policy, caller(uid, gid), Operation::Tokenize) {
                let at: usize = name.parse().unwrap();
                prop_assert!(!clients[..at].iter().any(|before| before.shadows(&clients[at])));
            }
        }
    }
}
