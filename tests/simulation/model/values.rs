//! Values: given, revealed, deleted, counted.

use lunasec_api::Code;
use lunasec_core::{limits, token::Token};

use super::{Asked, Fate, Given, Model, Op, Verb};
use crate::{scene::At, site::VALUE_HARD};

impl Model {
    /// A token was given; under an idempotency key the same as before.
    pub(crate) fn given(
        &mut self,
        asked: &Asked,
        (op, place): (usize, usize),
        token: Token,
        value: String,
        fate: Fate,
    ) {
        let made = Op { end: asked.now, fate, ..self.ops[op].clone() };
        let Verb::Tokenize { key, metadata, expires, .. } = made.verb else { return };
        if let Some(key) = key
            && let Some(first) = self.keyed.get(&(asked.site, key, place))
        {
            if self.tokens[*first].token != token {
                self.violated(asked, format!("another token under the idempotency key {key}"));
            }
            return;
        }
        if self.tokens.iter().any(|given| given.token == token) {
            return self.violated(asked, "the same token was given for two values");
        }
        if let Some(key) = key {
            self.keyed.insert((asked.site, key, place), self.tokens.len());
        }
        let metadata = metadata.then(|| made.text.clone());
        self.tokens.push(Given { token, value, metadata, made, expires });
    }

    fn deletes(&self, token: usize) -> impl Iterator<Item = &Op> {
        self.writes(move |verb| *verb == Verb::Delete(token))
    }

    /// Whether this sidecar must know that it was deleted, or has expired.
    fn is_gone(&self, token: usize, asked: &Asked) -> bool {
        if self.tokens[token].is_over(asked.start) {
            return true;
        }
        let (age, made) = (limits::CACHED_VALUE_AGE, &self.tokens[token].made);
        // What waits in a sidecar's own journal it gives for as long as that waits.
        let waits = made.site == asked.site
            && made.fate == Fate::Journaled
            && self.stored_at(made).is_none_or(|at| asked.start < at + age);
        self.deletes(token)
            .filter(|delete| !waits || delete.site == asked.site)
            .filter(|delete| asked.born <= delete.end || !self.is_retried(token, asked, delete.end))
            .any(|delete| self.is_known(delete, asked, age, VALUE_HARD))
    }

    /// Whether what was stored waits in a sidecar's journal once more: one that knew nothing of what became of it since
    /// was asked for it again, after that time, under its idempotency key.
    pub(crate) fn is_retried(&self, token: usize, asked: &Asked, after: At) -> bool {
        let of = |it: &(&(usize, u64, usize), &usize)| *it.1 == token && it.0.0 == asked.site;
        let Some(((_, key, _), _)) = self.keyed.iter().find(of) else { return false };
        let retries = |op: &&Op| {
            let Verb::Tokenize { key: its, .. } = op.verb else { return false };
            op.site == asked.site && its == Some(*key) && op.start >= after
        };
        let waits = |op: &Op| {
            let stored = self.stored_at(&Op { fate: Fate::Journaled, ..op.clone() });
            stored.is_none_or(|at| asked.start < at + limits::CACHED_VALUE_AGE)
        };
        self.ops.iter().filter(retries).any(waits)
    }

    /// Whether this sidecar may not know it.
    fn may_be_missing(&self, token: usize, asked: &Asked) -> bool {
        let made = &self.tokens[token].made;
        let fresh = limits::CACHED_NOTHING_AGE * 2;
        let elsewhere = made.site != asked.site && made.fate == Fate::Journaled;
        self.deletes(token).next().is_some()
            || self.tokens[token].may_be_over(asked.now)
            || elsewhere && self.stored_at(made).is_none_or(|at| asked.start < at + fresh)
    }

    pub(crate) fn revealed(&mut self, asked: &Asked, token: usize, answer: &Result<String, Code>) {
        if answer.as_ref().is_ok_and(|value| *value != self.tokens[token].value) {
            self.violated(asked, format!("token {token} opens to another value: {answer:?}"));
        }
        self.found(asked, token, answer.as_ref().err().copied());
    }

    /// Whether it is alive, whatever it holds: that was asked for it or its metadata.
    pub(crate) fn found(&mut self, asked: &Asked, token: usize, failure: Option<Code>) {
        let deletes = |verb: &Verb| *verb == Verb::Delete(token);
        let made = &self.tokens[token].made;
        // Under a key it may have been journaled by a retry.
        let retried = || self.keyed.values().any(|keyed| *keyed == token);
        let made_here = made.site == asked.site && (made.fate == Fate::Journaled || retried());
        match failure {
            None if self.is_gone(token, asked) => {
                self.violated(asked, format!("token {token} was deleted and is there"));
            }
            None if !made_here && self.is_too_old(asked, VALUE_HARD, deletes) => {
                self.violated(asked, format!("token {token} is told past its hard limit"));
            }
            Some(Code::NotFound) if !self.may_be_missing(token, asked) => {
                self.violated(asked, format!("token {token} was acknowledged and is not found"));
            }
            Some(Code::Expired) if !self.tokens[token].may_be_over(asked.now) => {
                self.violated(asked, format!("token {token} has expired too early"));
            }
            Some(Code::Corrupted | Code::Internal) => {
                self.violated(asked, format!("token {token}: {failure:?}"));
            }
            _ => {}
        }
    }

    /// All is well again: it is there or it is not.
    pub(crate) fn healed(&mut self, asked: &Asked, token: usize, answer: &Result<String, Code>) {
        self.revealed(asked, token, answer);
        let over = self.tokens[token].may_be_over(asked.now);
        let attempted = over || self.deletes(token).next().is_some();
        let deleted = self.deletes(token).any(Op::acknowledged);
        let admissible = match answer {
            Ok(_) => !deleted,
            Err(Code::NotFound) => attempted,
            Err(Code::Expired) => over,
            Err(_) => false,
        };
        if !admissible {
            self.violated(asked, format!("after healing, token {token} answers {answer:?}"));
        }
    }

    /// How many values may lie in the bucket, once what had expired by then was swept: at least, and at most.
    pub(crate) fn live(&self, swept: At) -> (usize, usize) {
        let place = |token: &usize| {
            !self.tokens[*token].may_be_over(swept) && self.deletes(*token).next().is_none()
        };
        let least = (0..self.tokens.len()).filter(place).count();
        let deleted = |token: &usize| {
            self.tokens[*token].is_over(swept) || self.deletes(*token).any(Op::acknowledged)
        };
        let known = (0..self.tokens.len()).filter(|token| !deleted(token)).count();
        (least, known + self.ambiguous())
    }

    /// Of values that nobody was told the token of, the most there may be.
    fn ambiguous(&self) -> usize {
        let mut keys = std::collections::BTreeSet::new();
        let mut count = 0;
        for op in self.ops.iter().filter(|op| op.end > At::ZERO) {
            let Verb::Tokenize { batch, key, .. } = op.verb else { continue };
            for place in 0..batch.unwrap_or(1) {
                let given = self.tokens.iter().any(|given| {
                    given.made.start == op.start
                        && given.made.site == op.site
                        && given.made.text == op.text
                });
                match key {
                    Some(key) if self.keyed.contains_key(&(op.site, key, place)) => {}
                    Some(key) => _ = keys.insert((op.site, key, place)),
                    None if !given || op.fate == Fate::Unknown => count += 1,
                    None => {}
                }
            }
        }
        count + keys.len()
    }
}

impl Verb {
    pub(crate) fn token(&self) -> Option<usize> {
        match *self {
            Self::Tokenize { .. } | Self::RevokeAll(_) => None,
            Self::Reveal(token)
            | Self::Describe(token)
            | Self::Set(token)
            | Self::Delete(token) => Some(token),
            Self::Grant(_, token, _) | Self::Verify(_, token) | Self::Revoke(_, token) => {
                Some(token)
            }
        }
    }

    pub(crate) fn writes(&self) -> bool {
        !matches!(self, Self::Reveal(_) | Self::Describe(_) | Self::Verify(..))
    }

    pub(crate) fn session(&self) -> Option<usize> {
        match *self {
            Self::Grant(session, ..)
            | Self::Verify(session, _)
            | Self::Revoke(session, _)
            | Self::RevokeAll(session) => Some(session),
            _ => None,
        }
    }
}
