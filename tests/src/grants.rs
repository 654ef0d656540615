//! Grants in short words, for the tests of the vault.

use std::time::Duration;

use lunasec_api::Code;
use lunasec_core::{
    grant::Action,
    ids::{Millis, Session},
    token::Token,
};
use lunasec_sidecar::vault::{Terms, Verdict};

use crate::{World, world::call};

/// A session by its name.
pub fn session(name: &str) -> Session {
    Session::parse(name).unwrap()
}

impl World {
    /// Grants, and says until when.
    pub async fn grant(
        &self,
        session: &Session,
        token: &Token,
        actions: &[Action],
        time: Duration,
    ) -> Result<Millis, Code> {
        let terms = Terms { actions: actions.into(), expires_in: time };
        let tokens = [Ok(token.clone())];
        let items = self.vault.grants_create(&call(), session, &tokens, &terms).await;
        let item = items.map_err(|failure| failure.code)?.pop().unwrap();
        item.map(|granted| granted.expires_at).map_err(|failure| failure.code)
    }

    /// What the session may do.
    pub async fn verdict(
        &self,
        session: &Session,
        token: &Token,
        action: Action,
    ) -> Result<Verdict, Code> {
        let items = self.vault.grants_verify(&call(), session, &[Ok(token.clone())], action).await;
        let item = items.map_err(|failure| failure.code)?.pop().unwrap();
        item.map(|verified| verified.verdict).map_err(|failure| failure.code)
    }

    /// Takes grants back, and says of how many tokens.
    pub async fn revoke(&self, session: &Session, tokens: &[&Token]) -> Result<usize, Code> {
        let tokens: Vec<_> = tokens.iter().copied().cloned().collect();
        let revoked = self.vault.grants_revoke(&call(), session, &tokens).await;
        Ok(revoked.map_err(|failure| failure.code)?.count.unwrap())
    }

    /// Takes back whatever the session was granted.
    pub async fn revoke_all(&self, session: &Session) -> Result<(), Code> {
        let revoked = self.vault.grants_revoke_all(&call(), session).await;
        assert_eq!(revoked.map_err(|failure| failure.code)?.count, None);
        Ok(())
    }
}
