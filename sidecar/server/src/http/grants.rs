//! The three routes of grants.

use std::{borrow::Cow, time::Duration};

use lunasec_api as api;
use lunasec_core::{grant::Action, token::Token};

use super::{
    Answer, Collected, Http, Result, answer, duration, invalid, json, rfc3339, session, token,
};
use crate::vault::{Age, Call, Terms, Verdict, Verified};

impl Http {
    pub(super) async fn grants_create(&self, call: &Call, body: Collected) -> Result<Answer> {
        let request = json::parse::<api::GrantsCreate<'_>>(body.as_ref())?;
        let terms = self.terms(
            request.actions.as_deref().map(|list| list.iter().map(|text| action(text))),
            request.expires_in.as_deref().map(duration).transpose()?,
        )?;
        let tokens = self.tokens(&request.tokens)?;
        let session = session(&request.session)?;
        let granted = self.vault.grants_create(call, &session, &tokens, &terms).await?;
        let items = granted.iter().zip(&request.tokens).map(|(granted, text)| match granted {
            Ok(granted) => api::Item::Done(api::Granted {
                token: Cow::Borrowed(text),
                expires_at: rfc3339(granted.expires_at).into(),
                durability: granted.durability,
            }),
            Err(failure) => answer::failed(failure, Some(Cow::Borrowed(text))),
        });
        answer::json(&api::Items { items: items.collect() })
    }

    pub(super) async fn grants_verify(&self, call: &Call, body: &[u8]) -> Result<Answer> {
        let request = json::parse::<api::GrantsVerify<'_>>(body)?;
        let action = request.action.as_deref().map_or(Ok(Action::Detokenize), action)?;
        let tokens = self.tokens(&request.tokens)?;
        let session = session(&request.session)?;
        let verdicts = self.vault.grants_verify(call, &session, &tokens, action).await?;
        self.report.degraded(Age::oldest(verdicts.iter().flatten().map(|verdict| verdict.age)));
        let items = verdicts.iter().zip(&request.tokens).map(|(verdict, text)| match verdict {
            Ok(verdict) => api::Item::Done(verified(*verdict, Cow::Borrowed(text))),
            Err(failure) => answer::failed(failure, Some(Cow::Borrowed(text))),
        });
        answer::json(&api::Items { items: items.collect() })
    }

    pub(super) async fn grants_revoke(&self, call: &Call, body: Collected) -> Result<Answer> {
        let request = json::parse::<api::GrantsRevoke<'_>>(body.as_ref())?;
        let session = session(&request.session)?;
        let revoked = match &request.tokens {
            None => self.vault.grants_revoke_all(call, &session).await?,
            Some(tokens) => {
                let tokens = self.tokens(tokens)?.into_iter().collect::<Result<Vec<_>>>()?;
                self.vault.grants_revoke(call, &session, &tokens).await?
            }
        };
        answer::json(&api::Revoked { revoked: revoked.count, durability: revoked.durability })
    }

    fn tokens(&self, texts: &[Cow<'_, str>]) -> Result<Vec<Result<Token>>> {
        self.check_items(texts.len())?;
        Ok(texts.iter().map(|text| token(text)).collect())
    }

    /// What a grant is to allow and for how long, however it was asked for.
    pub(crate) fn terms(
        &self,
        actions: Option<impl Iterator<Item = Result<Action>>>,
        expires_in: Option<Duration>,
    ) -> Result<Terms> {
        let actions: Vec<_> = match actions {
            Some(actions) => actions.collect::<Result<_>>()?,
            None => Action::DEFAULT.into(),
        };
        if actions.iter().enumerate().any(|(at, action)| actions[..at].contains(action)) {
            return Err(invalid("an action stands twice"));
        }
        let expires_in = expires_in.unwrap_or(self.grants.default);
        if expires_in < Duration::from_millis(1) || expires_in > self.grants.maximum {
            return Err(invalid(format!(
                "expires_in is more than nothing and at most {} here",
                humantime::format_duration(self.grants.maximum)
            )));
        }
        Ok(Terms { actions, expires_in })
    }
}

fn action(text: &str) -> Result<Action> {
    Action::parse(text)
        .ok_or_else(|| invalid("an action is one of detokenize, metadata, update, delete"))
}

fn verified(verified: Verified, token: Cow<'_, str>) -> api::Verified<'_> {
    let no = |reason: &'static str| (false, None, Some(reason.into()));
    let (valid, expires_at, reason) = match verified.verdict {
        Verdict::Valid(at) => (true, Some(rfc3339(at).into()), None),
        Verdict::Denied => no("denied"),
        Verdict::Expired => no("expired"),
    };
    let (degraded, age) = answer::staleness(verified.age);
    api::Verified { token, valid, expires_at, reason, degraded, age }
}
