//! Verify: what a session may do with tokens that exist.

use std::sync::Arc;

use lunasec_core::{grant::Action, ids::Session, limits, policy::Operation, token::Token};

use super::{Place, Seen, Verified};
use crate::{
    failure::Failure,
    vault::{Age, Call, Vault},
};

impl Vault {
    /// Whether a session may do this with each token.
    pub async fn grants_verify(
        &self,
        call: &Call,
        session: &Session,
        tokens: &[Result<Token, Failure>],
        action: Action,
    ) -> Result<Vec<Result<Verified, Failure>>, Failure> {
        call.asks_for_all(tokens);
        self.authorize_for(call, Operation::Grants, session)?;
        let known = self.session(call, session).await?;
        let known = &known;
        let verify = |token, value: Arc<Place<Seen>>| async move {
            let Verified { verdict, age } = self.verdict(call, known, token, action).await?;
            let age = age.older(self.exists(call, &value, token).await?);
            Ok(Verified { verdict, age })
        };
        let verified = self.each(call, tokens, limits::BATCH_CONCURRENCY, verify).await;
        for (token, verified) in tokens.iter().zip(&verified) {
            let (code, age) = match verified {
                Ok(Verified { verdict, age }) => (verdict.code(), *age),
                Err(failure) => (failure.code.as_str(), Age::default()),
            };
            call.trail.note_as(&call.namespace, token.as_ref().ok(), code, age.reason());
        }
        Ok(verified)
    }
}
