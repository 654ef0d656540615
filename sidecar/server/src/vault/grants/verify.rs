//! Verify: what a session may do with tokens that exist.

use std::sync::Arc;

use lunasec_core::{grant::Action, ids::Session, policy::Operation, record::Header, token::Token};

use super::{Place, Verdict};
use crate::{
    failure::Failure,
    vault::{Call, Vault},
};

impl Vault {
    /// Whether a session may do this with each token.
    pub async fn grants_verify(
        &self,
        call: &Call,
        session: &Session,
        tokens: &[Result<Token, Failure>],
        action: Action,
    ) -> Result<Vec<Result<Verdict, Failure>>, Failure> {
        self.authorize_for(call, Operation::Grants, session)?;
        let known = self.session(call, session).await?;
        let known = &known;
        let verify = |token, value: Arc<Place<Header>>| async move {
            let verdict = self.verdict(call, known, token, action).await?;
            self.exists(call, &value, token).await?;
            Ok(verdict)
        };
        Ok(self.each(call, tokens, verify).await)
    }
}
