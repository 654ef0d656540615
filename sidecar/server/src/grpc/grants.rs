//! The three methods of grants.

use std::time::Duration;

use hyper::Response;
use lunasec_api::grpc as api;
use lunasec_core::grant::Action;

use super::{Reply, Result, Verbs, failed_item, invalid, message, reply, staleness, timestamp};
use crate::{
    http::{Collected, session, token},
    vault::{Age, Call, Granted, Verdict},
};

impl Verbs {
    pub(super) async fn create_grants(
        &self,
        call: &Call,
        body: Collected,
    ) -> Result<Response<Reply>> {
        use api::create_grants_item::Outcome;
        let request: api::CreateGrantsRequest = message::list(body.bytes())?;
        self.0.check_items(request.tokens.len())?;
        let expires_in: Option<Duration> = request
            .expires_in
            .map(|time| time.try_into().map_err(|_| invalid("expires_in is negative")))
            .transpose()?;
        let actions = (!request.actions.is_empty())
            .then(|| request.actions.iter().map(|action| named(*action)?.ok_or_else(no_action)));
        let terms = self.0.terms(actions, expires_in)?;
        let tokens: Vec<_> = request.tokens.iter().map(|text| token(text)).collect();
        let session = session(&request.session)?;
        let granted = self.0.vault.grants_create(call, &session, &tokens, &terms).await?;
        let items = granted.into_iter().zip(request.tokens).map(|(given, token)| {
            let outcome = match given {
                Ok(given) => Outcome::Granted(granted_message(given)),
                Err(failure) => Outcome::Error(failed_item(&failure)),
            };
            api::CreateGrantsItem { token, outcome: Some(outcome) }
        });
        Ok(reply::message(&api::CreateGrantsResponse { items: items.collect() }))
    }

    pub(super) async fn verify_grants(
        &self,
        call: &Call,
        body: &Collected,
    ) -> Result<Response<Reply>> {
        use api::verify_grants_item::Outcome;
        let request: api::VerifyGrantsRequest = message::list(body.bytes())?;
        self.0.check_items(request.tokens.len())?;
        let action = named(request.action)?.unwrap_or(Action::Detokenize);
        let tokens: Vec<_> = request.tokens.iter().map(|text| token(text)).collect();
        let session = session(&request.session)?;
        let verdicts = self.0.vault.grants_verify(call, &session, &tokens, action).await?;
        let ages = verdicts.iter().flatten().map(|verified| verified.age);
        self.0.report.degraded(Age::oldest(ages));
        let items = verdicts.into_iter().zip(request.tokens).map(|(verified, token)| {
            let age = verified.as_ref().map_or(Age::default(), |verified| verified.age);
            let outcome = match verified.map(|verified| verified.verdict) {
                Ok(Verdict::Valid(at)) => Outcome::ValidUntil(timestamp(at)),
                Ok(Verdict::Denied) => Outcome::Refusal(api::Refusal::Denied.into()),
                Ok(Verdict::Expired) => Outcome::Refusal(api::Refusal::Expired.into()),
                Err(failure) => Outcome::Error(failed_item(&failure)),
            };
            api::VerifyGrantsItem { token, outcome: Some(outcome), staleness: staleness(age) }
        });
        Ok(reply::message(&api::VerifyGrantsResponse { items: items.collect() }))
    }

    pub(super) async fn revoke_grants(
        &self,
        call: &Call,
        body: Collected,
    ) -> Result<Response<Reply>> {
        let request: api::RevokeGrantsRequest = message::list_or_none(body.bytes())?;
        self.0.check_items(request.tokens.len())?;
        let session = session(&request.session)?;
        let revoked = if request.all != request.tokens.is_empty() {
            return Err(invalid("name the tokens, or set `all` and name none"));
        } else if request.all {
            self.0.vault.grants_revoke_all(call, &session).await?
        } else {
            let tokens = request.tokens.iter().map(|text| token(text));
            let tokens = tokens.collect::<Result<Vec<_>>>()?;
            self.0.vault.grants_revoke(call, &session, &tokens).await?
        };
        Ok(reply::message(&api::RevokeGrantsResponse {
            // At most as many as there are items in a list.
            revoked: revoked.count.and_then(|count| u32::try_from(count).ok()),
            durability: api::Durability::from(revoked.durability).into(),
        }))
    }
}

fn granted_message(granted: Granted) -> api::Granted {
    let durability = api::Durability::from(granted.durability).into();
    api::Granted { expires_at: Some(timestamp(granted.expires_at)), durability }
}

/// None where it is left out.
fn named(action: i32) -> Result<Option<Action>> {
    match api::Action::try_from(action) {
        Ok(api::Action::Unspecified) => Ok(None),
        Ok(api::Action::Detokenize) => Ok(Some(Action::Detokenize)),
        Ok(api::Action::Metadata) => Ok(Some(Action::Metadata)),
        Ok(api::Action::Update) => Ok(Some(Action::Update)),
        Ok(api::Action::Delete) => Ok(Some(Action::Delete)),
        Err(_) => Err(no_action()),
    }
}

fn no_action() -> crate::failure::Failure {
    invalid("an action is none of lunasec.v1.Action")
}
