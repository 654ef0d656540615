//! Tokenize: a fresh token, the value sealed under it, written where nothing was.
//!
//! Many values take the same road as one, step by step together: plan (which token), remember the
//! plan if the request may be retried, seal, write.

use std::time::Duration;

use bytes::Bytes;
use lunasec_api::{Code, Durability};
use lunasec_core::{
    envelope::{self, Fresh, Subject},
    ids::{Millis, PutId},
    policy::Operation,
    record::Kind,
    secret::Plaintext,
    token::Token,
};

use super::{Call, Form, Vault, journaled, metadata, millis, name_of};
use crate::{
    env::random,
    failure::Failure,
    idempotency::{Attempt, IdempotencyKey, Keys, Remembered},
    keys::Key,
    store::{Name, StoreError, Version},
};

/// A value to tokenize, already within its limits.
pub struct NewValue {
    /// The bytes.
    pub value: Plaintext,
    /// How to write them in JSON again.
    pub form: Form,
    /// A JSON object's text.
    pub metadata: Option<Box<str>>,
    /// For how long.
    pub expires_in: Option<Duration>,
}

/// What tokenize gives.
#[derive(Debug)]
pub struct Given {
    /// Stands for the value.
    pub token: Token,
    /// Where it is safe.
    pub durability: Durability,
}

/// Which token the value gets, and when it counts as made.
struct Plan {
    token: Token,
    put_id: PutId,
    at: Millis,
    /// Given out, or about to be, by an earlier attempt.
    again: bool,
    /// Where all that was written of it is safe.
    durability: Durability,
}

impl Vault {
    /// Tokenizes one value.
    pub async fn tokenize(&self, call: &Call, value: NewValue) -> Result<Given, Failure> {
        self.authorize(call, Operation::Tokenize)?;
        let mut given = self.tokenize_noted(call, false, vec![Ok(value)]).await?;
        given.pop().unwrap_or_else(|| Err(Failure::internal("nothing came of one value")))
    }

    /// Tokenizes many; each item succeeds or fails by itself.
    pub async fn tokenize_batch(
        &self,
        call: &Call,
        values: Vec<Result<NewValue, Failure>>,
    ) -> Result<Vec<Result<Given, Failure>>, Failure> {
        self.authorize(call, Operation::Tokenize)?;
        self.tokenize_noted(call, true, values).await
    }

    async fn tokenize_noted(
        &self,
        call: &Call,
        batch: bool,
        values: Vec<Result<NewValue, Failure>>,
    ) -> Result<Vec<Result<Given, Failure>>, Failure> {
        let given = self.tokenize_all(call, batch, values).await?;
        for given in &given {
            let token = given.as_ref().ok().map(|given| &given.token);
            call.note(token, given, |given| journaled(given.durability));
        }
        Ok(given)
    }

    pub(super) async fn tokenize_all(
        &self,
        call: &Call,
        batch: bool,
        values: Vec<Result<NewValue, Failure>>,
    ) -> Result<Vec<Result<Given, Failure>>, Failure> {
        let Some(key) = &call.idempotency_key else {
            let plans = values.iter().map(|_| self.fresh_plan()).collect();
            return self.seal_and_store(call, plans, values).await;
        };
        let keys = self.attempt_keys(call, key, batch, values.len());
        let bodies = digests(&keys, &values);
        // Concurrent duplicates wait for the first, and then find what it remembered.
        let _turn = match keys.first() {
            Some(first) => Some(self.attempts.lock(first.name).await),
            None => None,
        };
        let plans = self.remembered_plans(&keys, &bodies, &values).await?;
        self.seal_and_store(call, plans, values).await
    }

    fn attempt_keys(
        &self,
        call: &Call,
        key: &IdempotencyKey,
        batch: bool,
        count: usize,
    ) -> Vec<Keys> {
        let (caller, namespace) = (&call.caller, &call.namespace);
        let client = &*call.guest.client.name;
        (0u32..)
            .take(count)
            .map(|index| batch.then_some(index))
            .map(|index| Attempt { caller, client, namespace, key, index })
            .map(|attempt| self.idempotency.keys(&attempt))
            .collect()
    }

    fn fresh_plan(&self) -> Result<Plan, Failure> {
        Ok(Plan {
            token: Token::from_random(random(&*self.entropy)?),
            put_id: self.put_id()?,
            at: self.clock.now(),
            again: false,
            durability: Durability::Stored,
        })
    }

    /// The plans of the first attempt, or fresh ones that are remembered before they are carried
    /// out: a crash in between is healed by the retry, which finds them. A batch that differs in one
    /// item is another body, and nothing of it is done.
    async fn remembered_plans(
        &self,
        keys: &[Keys],
        bodies: &[[u8; 32]],
        values: &[Result<NewValue, Failure>],
    ) -> Result<Vec<Result<Plan, Failure>>, Failure> {
        let now = self.clock.now();
        let recalled = self.idempotency.recall(keys, now).await?;
        let differs = |(first, body): (&Option<Remembered>, &[u8; 32])| {
            first.as_ref().is_some_and(|first| !first.same_body(body))
        };
        if recalled.iter().zip(bodies).any(differs) {
            return Err(Failure::new(
                Code::Conflict,
                "this idempotency key came with another body before; use a new key for a new request",
            ));
        }
        let mut fresh = Vec::new();
        let mut plans = Vec::with_capacity(keys.len());
        for (at, first) in recalled.into_iter().enumerate() {
            plans.push(match first {
                Some(first) => Ok(Plan::again(first)),
                None if values[at].is_err() => self.fresh_plan(),
                None => self.fresh_plan().inspect(|plan| {
                    fresh.push((&keys[at], plan.remembered(bodies[at])));
                }),
            });
        }
        if !fresh.is_empty() {
            self.idempotency.remember(&fresh, now).await?;
        }
        Ok(plans)
    }

    async fn seal_and_store(
        &self,
        call: &Call,
        plans: Vec<Result<Plan, Failure>>,
        values: Vec<Result<NewValue, Failure>>,
    ) -> Result<Vec<Result<Given, Failure>>, Failure> {
        let key = self.keyring.current(&call.namespace).await?;
        let (mut metadata, mut records) = (Puts::default(), Puts::default());
        let mut items = Vec::with_capacity(plans.len());
        for (at, (plan, value)) in plans.into_iter().zip(values).enumerate() {
            items.push(value.and_then(|value| {
                let plan = plan?;
                if let Some(text) = &value.metadata {
                    let first = metadata::FIRST_VERSION.to_be_bytes();
                    let text: [&[u8]; 2] = [&first, text.as_bytes()];
                    metadata
                        .push(at, self.seal_new(call, &key, &plan, &value, Kind::Metadata, &text)?);
                }
                let form = [value.form.byte()];
                let text: [&[u8]; 2] = [&form, value.value.expose()];
                records.push(at, self.seal_new(call, &key, &plan, &value, Kind::Value, &text)?);
                Ok(plan)
            }));
        }
        // Metadata first: a value that can be read has all that it was given.
        for puts in [metadata, records] {
            self.put_all(puts, &mut items).await;
        }
        Ok(items
            .into_iter()
            .map(|item| item.map(|plan| Given { token: plan.token, durability: plan.durability }))
            .collect())
    }

    fn seal_new(
        &self,
        call: &Call,
        key: &Key,
        plan: &Plan,
        value: &NewValue,
        kind: Kind,
        plaintext: &[&[u8]],
    ) -> Result<(Name, Bytes), Failure> {
        let subject = Subject::new(plan.token.clone(), call.namespace.clone(), kind, &[]);
        let expires_at = value.expires_in.map(|time| plan.at.saturating_add(millis(time)));
        let stamp = self.stamp(plan.at, expires_at);
        let fresh = Fresh { nonce: random(&*self.entropy)?, put_id: plan.put_id };
        let record = envelope::seal(&subject, key.id, &key.key, stamp, &fresh, plaintext)
            .map_err(Failure::internal)?;
        Ok((name_of(&subject), record.into()))
    }

    /// Stores what belongs to items that have not failed so far.
    async fn put_all(&self, puts: Puts, items: &mut [Result<Plan, Failure>]) {
        let puts = puts.items.into_iter().zip(puts.objects);
        let going = puts.filter(|(at, _)| items[*at].is_ok());
        // Nobody shall find a value whose metadata waits in a journal.
        let waits = |at: usize| {
            items[at].as_ref().is_ok_and(|plan| plan.durability == Durability::Journaled)
        };
        let (behind, at_once): (Vec<_>, Vec<_>) = going.partition(|(at, _)| waits(*at));
        for (puts, behind) in [(at_once, false), (behind, true)] {
            let (places, objects): (Vec<_>, Vec<_>) = puts.into_iter().unzip();
            if objects.is_empty() {
                continue;
            }
            let names: Vec<_> = objects.iter().map(|(name, _)| name.clone()).collect();
            let written = match behind {
                true => self.store.put_new_many_behind(objects).await,
                false => self.store.put_new_many(objects).await,
            };
            self.take_over(places.into_iter().zip(names).zip(written), items);
        }
    }

    /// What came of writing each of some names, for the items at their places.
    fn take_over(
        &self,
        written: impl Iterator<Item = ((usize, Name), Result<Version, StoreError>)>,
        items: &mut [Result<Plan, Failure>],
    ) {
        for ((at, name), written) in written {
            let Ok(plan) = &mut items[at] else { continue };
            let waits = || match self.store.waits(&name) {
                true => Durability::Journaled,
                false => Durability::Stored,
            };
            match settle(written, plan.again, waits) {
                Ok(durability) => plan.durability = plan.durability.max(durability),
                Err(failure) => items[at] = Err(failure),
            }
        }
    }
}

/// Records to write, and the items they belong to.
#[derive(Default)]
struct Puts {
    objects: Vec<(Name, Bytes)>,
    items: Vec<usize>,
}

impl Puts {
    fn push(&mut self, item: usize, object: (Name, Bytes)) {
        self.items.push(item);
        self.objects.push(object);
    }
}

impl Plan {
    fn again(first: Remembered) -> Self {
        let Remembered { token, put_id, at, .. } = first;
        Self { token, put_id, at, again: true, durability: Durability::Stored }
    }

    fn remembered(&self, body: [u8; 32]) -> Remembered {
        Remembered { token: self.token.clone(), put_id: self.put_id, at: self.at, body }
    }
}

/// A retry that finds the name taken finds its own first attempt, or what became of it: the token is
/// 122 random bits that nobody else was given.
fn settle(
    written: Result<Version, StoreError>,
    again: bool,
    first: impl FnOnce() -> Durability,
) -> Result<Durability, Failure> {
    match written {
        Ok(version) => Ok(version.durability()),
        Err(StoreError::Precondition) if again => Ok(first()),
        Err(StoreError::Precondition) => {
            Err(Failure::internal("a fresh token's name was taken: the generator repeats itself"))
        }
        Err(error) => Err(error.into()),
    }
}

/// A digest of each item together with the batch's shape: the number of items and the length of
/// each. So a retry that adds, drops or swaps items differs, and one that changes an item does.
fn digests(keys: &[Keys], values: &[Result<NewValue, Failure>]) -> Vec<[u8; 32]> {
    let length = |value: &Result<NewValue, Failure>| match value {
        Ok(value) => value.value.expose().len() as u64,
        Err(_) => u64::MAX,
    };
    let lengths: Vec<u8> = values.iter().flat_map(|value| length(value).to_be_bytes()).collect();
    let shape = keys.first().map(|keys| keys.digest(&[&lengths])).unwrap_or_default();
    keys.iter()
        .zip(values)
        .map(|(keys, value)| match value {
            Ok(value) => digest(keys, value, &shape),
            Err(_) => [0; 32],
        })
        .collect()
}

fn digest(keys: &Keys, value: &NewValue, shape: &[u8]) -> [u8; 32] {
    let expires_in = value.expires_in.map_or(0, millis).to_be_bytes();
    keys.digest(&[
        &[value.form.byte(), u8::from(value.metadata.is_some())],
        value.value.expose(),
        value.metadata.as_deref().unwrap_or_default().as_bytes(),
        &expires_in,
        shape,
    ])
}
