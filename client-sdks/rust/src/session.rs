use std::{fmt, ops::Deref, sync::Arc};

use crate::{
    Client, Error, Fail, Granted, Lifetime, Policy, Revoked, TokenLike, Verdict, calls,
    context::bearer, operation,
};

/// What a grant can allow.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Action {
    /// To reveal the value.
    Detokenize,
    /// To read the metadata.
    Metadata,
    /// To set the metadata.
    Update,
    /// To delete the value.
    Delete,
    /// What a newer sidecar knows beyond.
    Other(String),
}

impl Action {
    fn as_str(&self) -> &str {
        match self {
            Self::Detokenize => "detokenize",
            Self::Metadata => "metadata",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Other(name) => name,
        }
    }
}

/// What a grant may say of itself.
#[derive(Clone, Default, Debug)]
pub struct GrantOptions {
    expires_in: Option<Lifetime>,
    actions: Option<Vec<Action>>,
}

impl GrantOptions {
    /// For how long: 15 minutes unless said; the operator sets the most.
    #[must_use]
    pub fn expires_in(mut self, lifetime: impl Into<Lifetime>) -> Self {
        self.expires_in = Some(lifetime.into());
        self
    }

    /// What is allowed: `Detokenize` and `Metadata` unless said.
    #[must_use]
    pub fn actions(mut self, actions: impl IntoIterator<Item = Action>) -> Self {
        self.actions = Some(actions.into_iter().collect());
        self
    }
}

/// A client that speaks for one session of one end user: what it grants, verifies and reveals is that session's, so that no
/// two ids can be mixed up. Made by [`Client::for_session`]; everything else that a [`Client`] does, it does too, under
/// the session.
///
/// Views of the client in it are plain clients that still say the session.
#[derive(Clone)]
pub struct Session<P: Policy = Fail> {
    pub(crate) client: Client<P>,
    pub(crate) session: Arc<str>,
}

impl<P: Policy> Session<P> {
    /// With the user's JWT, which proves the session where the sidecar has issuers.
    pub fn with_jwt(&self, jwt: &str) -> Result<Self, Error> {
        let jwt = bearer(jwt)?;
        let view = self.client.view.saying(|context| context.jwt = Some(jwt))?;
        Ok(self.map(|client| Client { view, policy: client.policy.clone() }))
    }

    /// The same session of a view of its client: another policy, deadline, namespace or purpose.
    ///
    /// ```
    /// # use lunasec_client::Client;
    /// # let lunasec = Client::builder().build()?;
    /// let user = lunasec.for_session("the-id-of-a-session")?;
    /// let pages = user.map(|client| client.masking().gathering());
    /// # Ok::<(), lunasec_client::Error>(())
    /// ```
    #[must_use]
    pub fn map<Q: Policy>(&self, view: impl FnOnce(&Client<P>) -> Client<Q>) -> Session<Q> {
        let mut client = view(&self.client);
        // Whatever was made of it, it is still this session's.
        if client.view.context.session != self.client.view.context.session {
            let mut context = client.view.context.as_ref().clone();
            context.session.clone_from(&self.client.view.context.session);
            client.view.context = Arc::new(context);
        }
        Session { client, session: Arc::clone(&self.session) }
    }

    /// Lets the session do something with 1 to 1,000 tokens, for a time. No policy stands in for it.
    pub async fn grant(
        &self,
        tokens: &[impl TokenLike],
    ) -> Result<Vec<Result<Granted, Error>>, Error> {
        self.grant_with(tokens, GrantOptions::default()).await
    }

    /// The same, for another time or with other rights.
    pub async fn grant_with(
        &self,
        tokens: &[impl TokenLike],
        options: GrantOptions,
    ) -> Result<Vec<Result<Granted, Error>>, Error> {
        let actions: Option<Vec<_>> =
            options.actions.as_ref().map(|actions| actions.iter().map(Action::as_str).collect());
        let expires_in = options.expires_in.as_ref().map(|Lifetime(text)| text.as_str());
        let operation = operation::grant(&self.session, expires_in, actions.as_deref())?;
        let units = calls::token_units(&calls::tokens_of(tokens)?)?;
        self.client.view.list(operation, units, self.client.view.limits(false)).await
    }

    /// Asks whether the session may reveal 1 to 1,000 tokens.
    ///
    /// No policy stands in for it: where nobody knows, items are errors or the call is one, and neither is a yes.
    pub async fn verify(
        &self,
        tokens: &[impl TokenLike],
    ) -> Result<Vec<Result<Verdict, Error>>, Error> {
        self.verified(tokens, None).await
    }

    /// The same, for something else than revealing them.
    pub async fn verify_for(
        &self,
        action: &Action,
        tokens: &[impl TokenLike],
    ) -> Result<Vec<Result<Verdict, Error>>, Error> {
        self.verified(tokens, Some(action.as_str())).await
    }

    async fn verified(
        &self,
        tokens: &[impl TokenLike],
        action: Option<&str>,
    ) -> Result<Vec<Result<Verdict, Error>>, Error> {
        let operation = operation::verify(&self.session, action)?;
        let units = calls::token_units(&calls::tokens_of(tokens)?)?;
        self.client.view.list(operation, units, self.client.view.limits(false)).await
    }

    /// Takes back all that the session was granted for 1 to 1,000 tokens.
    pub async fn revoke(&self, tokens: &[impl TokenLike]) -> Result<Revoked, Error> {
        calls::revoke(&self.client, &self.session, Some(&calls::tokens_of(tokens)?)).await
    }

    /// Takes back all that the session was granted: for a logout.
    pub async fn revoke_all(&self) -> Result<Revoked, Error> {
        calls::revoke(&self.client, &self.session, None).await
    }
}

impl<P: Policy> Deref for Session<P> {
    type Target = Client<P>;

    fn deref(&self) -> &Client<P> {
        &self.client
    }
}

impl<P: Policy> fmt::Debug for Session<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Session(…)")
    }
}
