//! Each operation of the contract, from the wire's words to this SDK's.

use std::{fmt::Debug, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use lunasec_client::{
    Action, Client, Error, GrantOptions, Mask, NewValue, Plaintext, Policy, Session,
};
use serde_json::{Value as Json, json};

use crate::{Opened, Options, Standing, Word, words};

/// What a call came to, and how that prints.
pub(crate) struct Called {
    pub(crate) wire: Json,
    pub(crate) printed: String,
}

fn called(wire: Json, result: &impl Debug) -> Called {
    Called { wire: words::present(wire), printed: format!("{result:?}\n{result:#?}") }
}

/// Nothing for a call that is not known.
pub(crate) async fn call(
    opened: &Opened,
    name: &str,
    given: Json,
    options: Options,
) -> Option<Result<Called, Error>> {
    let client = match speaker(&opened.client, &options) {
        Ok(client) => client,
        Err(error) => return Some(Err(error)),
    };
    let standing = options.on_unavailable.clone().or_else(|| opened.standing.clone());
    Some(match name {
        "tokenize" => tokenize(&client, &given, &options).await,
        "tokenize_batch" => tokenize_batch(&client, &given, &options).await,
        "detokenize" | "detokenize_batch" => read(&client, standing, &given).await,
        "metadata_get" => metadata_get(&client, &given).await,
        "metadata_set" => metadata_set(&client, &given).await,
        "grants_create" => grants_create(&client, &given).await,
        "grants_verify" => grants_verify(&client, &given).await,
        "grants_revoke" => grants_revoke(&client, &given).await,
        "delete" => delete(&client, &given).await,
        "status" => {
            client.status().await.map(|status| called(Json::Object(status.all.clone()), &status))
        }
        _ => return None,
    })
}

/// The client, for what this call says of itself.
fn speaker(client: &Client, options: &Options) -> Result<Client, Error> {
    let mut client = client.clone();
    if let Some(namespace) = &options.namespace {
        client = client.in_namespace(namespace)?;
    }
    if let Some(purpose) = &options.purpose {
        client = client.for_purpose(purpose)?;
    }
    if let Some(ms) = options.deadline_ms {
        client = client.with_deadline(Duration::from_millis(ms));
    }
    if let Some(session) = &options.session {
        let mut user = client.for_session(session)?;
        if let Some(jwt) = &options.jwt {
            user = user.with_jwt(jwt)?;
        }
        client = (*user).clone();
    }
    Ok(client)
}

fn session(client: &Client, given: &Json) -> Result<Session, Error> {
    client.for_session(text(given, "session"))
}

fn text<'a>(given: &'a Json, name: &str) -> &'a str {
    given[name].as_str().unwrap_or_default()
}

fn tokens(given: &Json) -> Vec<&str> {
    given["tokens"].as_array().into_iter().flatten().filter_map(Json::as_str).collect()
}

/// Bytes as bytes, where the text is the base64 of some.
fn new_value(given: &Json) -> NewValue {
    let value = text(given, "value");
    let mut new = match (given["encoding"].as_str(), STANDARD.decode(value)) {
        (Some("base64"), Ok(bytes)) => NewValue::from(Plaintext::from(bytes)),
        (Some("base64"), Err(_)) => NewValue::from_base64(value),
        _ => NewValue::from(value),
    };
    if !given["metadata"].is_null() {
        new = new.metadata(&given["metadata"]);
    }
    if let Some(lifetime) = given["expires_in"].as_str() {
        new = new.expires_in(lifetime);
    }
    new
}

async fn tokenize(client: &Client, given: &Json, options: &Options) -> Result<Called, Error> {
    let mut value = new_value(given);
    if let Some(key) = &options.idempotency_key {
        value = value.idempotency_key(key);
    }
    let result = client.tokenize(value).await?;
    Ok(called(words::tokenized(&result), &result))
}

async fn tokenize_batch(client: &Client, given: &Json, options: &Options) -> Result<Called, Error> {
    let items: Vec<_> = given["items"].as_array().into_iter().flatten().map(new_value).collect();
    let result = match &options.idempotency_key {
        Some(key) => client.tokenize_batch_once(key, items).await?,
        None => client.tokenize_batch(items).await?,
    };
    let wire: Vec<_> = result.iter().map(words::tokenized_item).collect();
    Ok(called(json!({ "items": wire }), &result))
}

/// Under whatever policy.
async fn read(client: &Client, standing: Option<Standing>, given: &Json) -> Result<Called, Error> {
    match standing {
        None | Some(Standing::Word(Word::Fail)) => revealed(client, given, words::value).await,
        Some(Standing::Word(Word::Mask)) => revealed(&client.masking(), given, words::shown).await,
        Some(Standing::Mask { mask }) => {
            revealed(&client.with_policy(Mask::with(mask)), given, words::shown).await
        }
        Some(Standing::Fallback { fallback }) => {
            let client = client.or_else(move |_, _| std::future::ready(fallback.clone()));
            revealed(&client, given, words::value_or).await
        }
    }
}

async fn revealed<P: Policy>(
    client: &Client<P>,
    given: &Json,
    read: impl Fn(&P::Revealed) -> Json,
) -> Result<Called, Error>
where
    P::Revealed: Debug,
{
    if given["tokens"].is_null() {
        let result = client.detokenize(text(given, "token")).await?;
        return Ok(called(read(&result), &result));
    }
    let tokens = tokens(given);
    let result = client.detokenize_batch(&tokens).await?;
    let items =
        tokens.iter().zip(&result).map(|(token, outcome)| words::item(token, outcome, &read));
    Ok(called(json!({ "items": items.collect::<Vec<_>>() }), &result))
}

async fn metadata_get(client: &Client, given: &Json) -> Result<Called, Error> {
    let result = client.metadata(text(given, "token")).await?;
    Ok(called(words::metadata(&result), &result))
}

async fn metadata_set(client: &Client, given: &Json) -> Result<Called, Error> {
    let (token, metadata) = (text(given, "token"), &given["metadata"]);
    let result = match given["if_version"].as_u64() {
        Some(version) => client.set_metadata_if(token, metadata, version).await?,
        None => client.set_metadata(token, metadata).await?,
    };
    let wire = json!({ "version": result.version, "durability": result.durability.as_str() });
    Ok(called(wire, &result))
}

fn action(name: &str) -> Action {
    match name {
        "detokenize" => Action::Detokenize,
        "metadata" => Action::Metadata,
        "update" => Action::Update,
        "delete" => Action::Delete,
        other => Action::Other(other.into()),
    }
}

async fn grants_create(client: &Client, given: &Json) -> Result<Called, Error> {
    let mut options = GrantOptions::default();
    if let Some(lifetime) = given["expires_in"].as_str() {
        options = options.expires_in(lifetime);
    }
    if let Some(actions) = given["actions"].as_array() {
        options = options.actions(actions.iter().filter_map(Json::as_str).map(action));
    }
    let tokens = tokens(given);
    let result = session(client, given)?.grant_with(&tokens, options).await?;
    let items = tokens
        .iter()
        .zip(&result)
        .map(|(token, outcome)| words::item(token, outcome, words::granted));
    Ok(called(json!({ "items": items.collect::<Vec<_>>() }), &result))
}

async fn grants_verify(client: &Client, given: &Json) -> Result<Called, Error> {
    let (user, tokens) = (session(client, given)?, tokens(given));
    let result = match given["action"].as_str() {
        Some(name) => user.verify_for(&action(name), &tokens).await?,
        None => user.verify(&tokens).await?,
    };
    let items = tokens
        .iter()
        .zip(&result)
        .map(|(token, outcome)| words::item(token, outcome, words::verdict));
    Ok(called(json!({ "items": items.collect::<Vec<_>>() }), &result))
}

async fn grants_revoke(client: &Client, given: &Json) -> Result<Called, Error> {
    let user = session(client, given)?;
    let result = match given["tokens"].is_null() {
        true => user.revoke_all().await?,
        false => user.revoke(&tokens(given)).await?,
    };
    let wire = json!({ "revoked": result.revoked, "durability": result.durability.as_str() });
    Ok(called(wire, &result))
}

async fn delete(client: &Client, given: &Json) -> Result<Called, Error> {
    let tokens = tokens(given);
    let result = client.delete(&tokens).await?;
    let items = tokens
        .iter()
        .zip(&result)
        .map(|(token, outcome)| words::item(token, outcome, words::deleted));
    Ok(called(json!({ "items": items.collect::<Vec<_>>() }), &result))
}
