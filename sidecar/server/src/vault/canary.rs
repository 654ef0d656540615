//! Canaries: tokens like any other that no application is given, put where only a thief finds them. Whoever uses one is
//! answered as if there were none, and an alarm is raised.

use lunasec_core::{envelope::Opened, policy::Operation, record::Kind, token::Token};

use super::{Call, Form, Found, Given, NewValue, Vault, journaled};
use crate::{audit::audit_id, failure::Failure};

impl Vault {
    /// Mints a canary. It takes the road of a value, so that nothing tells them apart.
    pub async fn canary_create(&self, call: &Call, canary: NewValue) -> Result<Given, Failure> {
        self.authorize(call, Operation::Canaries)?;
        let canary = NewValue { form: Form::Canary, ..canary };
        let mut given = self.tokenize_all(call, false, vec![Ok(canary)]).await?;
        let given = given.pop().unwrap_or_else(|| Err(Failure::internal("nothing came of it")));
        // Without its token: who reads the trail and has tokens must not find it there before it is used.
        call.note(None, &given, |given| journaled(given.durability));
        given
    }

    /// Raises the alarm if this is the record of a canary, and says so.
    pub(super) fn touched(&self, call: &Call, token: &Token, opened: &Opened) -> bool {
        let canary = Form::of(&opened.plaintext) == Some(Form::Canary);
        if canary {
            call.trail.canary(&call.namespace, token);
            let note = String::from_utf8_lossy(&opened.plaintext[1..]);
            self.alarm.raise(call, token, &note);
        }
        canary
    }

    /// What whoever used one is answered: what storage says of a name that nothing has, so that it takes as long and
    /// is the same in an outage.
    pub(super) async fn as_unknown(
        &self,
        call: &Call,
        token: &Token,
    ) -> Result<Option<Found>, Failure> {
        // The same each time, so that what is remembered of it is what would be of an unknown one.
        let mut nothing = [0; Token::LEN];
        nothing.copy_from_slice(&audit_id(&call.namespace, token)[..Token::LEN]);
        let nothing = Token::from_random(nothing);
        self.read(&Self::subject(call, &nothing, Kind::Value)).await
    }
}
