//! Each call, from an application's words to the contract's and back.

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use zeroize::Zeroizing;

use crate::{
    Client, Deleted, Error, Metadata, MetadataWritten, NewValue, Policy, Status, Token, TokenLike,
    Tokenized, Value,
    engine::Route,
    operation::{self, Outcome, Unit, json_of, token_unit},
    plain::Plain,
    retry::Repeatable,
    token_like::token_of,
    wiped::Wiped,
    wire::{Item, Said, misread},
};

pub(crate) fn tokens_of(tokens: &[impl TokenLike]) -> Result<Vec<Token>, Error> {
    tokens.iter().map(token_of).collect()
}

pub(crate) fn token_units(tokens: &[Token]) -> Result<Vec<Unit>, Error> {
    tokens.iter().cloned().map(token_unit).collect()
}

pub(crate) async fn tokenize<P: Policy>(
    client: &Client<P>,
    value: NewValue,
) -> Result<Tokenized, Error> {
    let (view, unit) = (&client.view, value.unit()?);
    let key = value.idempotency_key.as_deref();
    view.one(operation::tokenize(), unit, key, view.limits(false)).await
}

pub(crate) async fn tokenize_batch<P: Policy>(
    client: &Client<P>,
    values: &[NewValue],
    key: Option<&str>,
) -> Result<Vec<Outcome<Tokenized>>, Error> {
    if values.iter().any(|value| value.idempotency_key.is_some()) {
        return Err(Error::invalid(
            "an item of a batch has no idempotency key of its own: give one to tokenize_batch_once",
        ));
    }
    let units = values.iter().map(NewValue::unit).collect::<Result<_, _>>()?;
    let view = &client.view;
    view.batch(operation::tokenize(), units, key, view.limits(false)).await
}

pub(crate) async fn detokenize<P: Policy>(
    client: &Client<P>,
    token: Token,
) -> Result<P::Revealed, Error> {
    let limits = client.view.limits(P::STANDS_IN);
    let unit = token_unit(token.clone())?;
    match client.view.one(operation::detokenize(), unit, None, limits).await {
        Ok(value) => Ok(P::value(value)),
        Err(error) => client.policy.stand_in(token, error, limits.deadline).await,
    }
}

pub(crate) async fn detokenize_batch<P: Policy>(
    client: &Client<P>,
    tokens: Vec<Token>,
) -> Result<Vec<Result<P::Revealed, Error>>, Error> {
    let limits = client.view.limits(P::STANDS_IN);
    let units = token_units(&tokens)?;
    let outcomes: Vec<Outcome<Value>> =
        match client.view.batch(operation::detokenize(), units, None, limits).await {
            Ok(outcomes) => outcomes,
            Err(error) if P::STANDS_IN && error.is_unavailable() => {
                tokens.iter().map(|_| Err(error.clone())).collect()
            }
            Err(error) => return Err(error),
        };
    let revealed = outcomes.into_iter().zip(tokens).map(|(outcome, token)| async move {
        match outcome {
            Ok(value) => Ok(P::value(value)),
            Err(error) => client.policy.stand_in(token, error, limits.deadline).await,
        }
    });
    Ok(join_all(revealed).await)
}

pub(crate) async fn metadata<P: Policy>(
    client: &Client<P>,
    token: &Token,
) -> Result<Metadata, Error> {
    let body = format!("{{\"token\":{}}}", *Zeroizing::new(json_of(token.expose())?));
    let route = Route::post("http://localhost/v1/metadata/get", wiped(body));
    let Said { body: mut item, staleness } = client.view.request::<Item>(route).await?;
    Ok(Metadata {
        version: item.version()?,
        created_at: item.created_at()?,
        expires_at: item.expires_at_if_any()?,
        staleness: item.staleness(staleness.as_ref()),
        metadata: item.metadata.ok_or_else(|| misread("metadata is no object"))?,
    })
}

pub(crate) async fn set_metadata<P: Policy>(
    client: &Client<P>,
    token: &Token,
    metadata: &str,
    version: Option<u64>,
) -> Result<MetadataWritten, Error> {
    let mut body = format!("{{\"token\":{},\"metadata\":{metadata}", json_of(token.expose())?);
    if let Some(version) = version {
        body.push_str(&format!(",\"if_version\":{version}"));
    }
    body.push('}');
    // A second attempt would meet the version that the first one wrote.
    let repeatable = if version.is_none() { Repeatable::Always } else { Repeatable::Undone };
    let route =
        Route { repeatable, ..Route::post("http://localhost/v1/metadata/set", wiped(body)) };
    let item = client.view.request::<Item>(route).await?.body;
    Ok(MetadataWritten { version: item.version()?, durability: item.durability()? })
}

fn wiped(body: String) -> bytes::Bytes {
    bytes::Bytes::from_owner(Wiped(body.into_bytes()))
}

pub(crate) async fn delete<P: Policy>(
    client: &Client<P>,
    tokens: Vec<Token>,
) -> Result<Vec<Outcome<Deleted>>, Error> {
    let view = &client.view;
    view.list(operation::delete(), token_units(&tokens)?, view.limits(false)).await
}

pub(crate) async fn revoke<P: Policy>(
    client: &Client<P>,
    session: &str,
    tokens: Option<&[Token]>,
) -> Result<crate::Revoked, Error> {
    #[derive(Serialize)]
    struct Revoke<'a> {
        session: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        tokens: Option<Vec<&'a str>>,
    }
    let tokens = tokens.map(|tokens| tokens.iter().map(Token::expose).collect());
    let body = json_of(&Revoke { session, tokens })?;
    let route = Route::post("http://localhost/v1/grants/revoke", wiped(body));
    let item = client.view.request::<Item>(route).await?.body;
    Ok(crate::Revoked { revoked: item.revoked, durability: item.durability()? })
}

pub(crate) async fn status<P: Policy>(client: &Client<P>) -> Result<Status, Error> {
    #[derive(Deserialize)]
    struct Said {
        version: String,
        dependencies: std::collections::BTreeMap<String, Dependency>,
    }
    #[derive(Deserialize)]
    struct Dependency {
        state: String,
        since: Option<String>,
        reason: Option<String>,
    }
    let route = Route::get("http://localhost/v1/status");
    let Plain(Json::Object(all)) = client.view.request(route).await?.body else {
        return Err(misread("it is no object"));
    };
    let said = serde_json::from_value(all.clone().into());
    let Said { version, dependencies } = said.map_err(|_| misread("it is no status"))?;
    let dependencies =
        dependencies.into_iter().map(|(name, Dependency { state, since, reason })| {
            (name, crate::Dependency { state, since, reason })
        });
    Ok(Status { version, dependencies: dependencies.collect(), all })
}
