//! A sidecar in memory: it remembers idempotency keys, and counts what it stored.

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    rc::Rc,
};

use lunasec_core::token::Token;

use super::super::{Batches, CallError, Cell, ItemError};

/// What a call does instead of working.
pub(super) enum Script {
    /// Nothing, and says so.
    Fail(CallError),
    /// Works, but answers this for the items from an index on.
    FailFrom(usize, ItemError),
    /// Works for all items but this.
    FailOne(usize, ItemError),
    /// Answers one item too few.
    Short,
    /// Answers something else than tokens.
    Nonsense,
}

/// Shared by its clones, as a sidecar is by the runs of a command.
#[derive(Clone, Default)]
pub(super) struct Sidecar(Rc<RefCell<State>>);

#[derive(Default)]
struct State {
    records: BTreeMap<String, Cell>,
    /// By key and index, with the value that came with it.
    known: BTreeMap<(String, usize), (Cell, String)>,
    script: VecDeque<Script>,
    calls: Vec<usize>,
    order: Vec<String>,
}

impl Sidecar {
    pub(super) fn stored(&self) -> usize {
        self.0.borrow().records.len()
    }

    /// The tokens in the order in which they were made.
    pub(super) fn tokens(&self) -> Vec<String> {
        self.0.borrow().order.clone()
    }

    /// Sizes of the calls so far.
    pub(super) fn calls(&self) -> Vec<usize> {
        self.0.borrow().calls.clone()
    }

    pub(super) fn script(&self, script: impl IntoIterator<Item = Script>) {
        self.0.borrow_mut().script.extend(script);
    }

    /// Stores a value under a fresh token.
    pub(super) fn store(&self, value: &[u8]) -> String {
        self.0.borrow_mut().store(Cell(value.to_vec()))
    }

    fn act<T>(
        &self,
        count: usize,
        mut item: impl FnMut(&mut State, usize) -> Result<T, ItemError>,
        nonsense: impl Fn() -> T,
    ) -> Result<Vec<Result<T, ItemError>>, CallError> {
        let state = &mut *self.0.borrow_mut();
        state.calls.push(count);
        let script = state.script.pop_front();
        if let Some(Script::Fail(error)) = script {
            return Err(error);
        }
        let fails = |index| match &script {
            Some(Script::FailFrom(from, error)) if index >= *from => Some(error.clone()),
            Some(Script::FailOne(one, error)) if index == *one => Some(error.clone()),
            _ => None,
        };
        let mut items: Vec<_> =
            (0..count).map(|index| fails(index).map_or_else(|| item(state, index), Err)).collect();
        match script {
            Some(Script::Short) => drop(items.pop()),
            Some(Script::Nonsense) => items[0] = Ok(nonsense()),
            _ => {}
        }
        Ok(items)
    }
}

impl State {
    fn store(&mut self, value: Cell) -> String {
        let mut bytes = [0; 16];
        let number = self.records.len() as u64;
        bytes[8..].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        let token = Token::from_random(bytes).expose_text();
        assert!(self.records.insert(token.clone(), value).is_none(), "tokens are unique");
        self.order.push(token.clone());
        token
    }

    fn tokenize(&mut self, key: &str, index: usize, value: &Cell) -> Result<String, ItemError> {
        let key = (key.to_owned(), index);
        if let Some((known, token)) = self.known.get(&key) {
            return if known == value { Ok(token.clone()) } else { Err(refusal("conflict")) };
        }
        let token = self.store(value.clone());
        self.known.insert(key, (value.clone(), token.clone()));
        Ok(token)
    }
}

impl Batches for Sidecar {
    async fn tokenize(
        &mut self,
        key: &str,
        values: &[Cell],
    ) -> Result<Vec<Result<String, ItemError>>, CallError> {
        assert!(!values.is_empty() && values.len() <= 1000 && key.len() <= 255);
        let item = |state: &mut State, index: usize| state.tokenize(key, index, &values[index]);
        self.act(values.len(), item, || "nonsense".to_owned())
    }

    async fn detokenize(
        &mut self,
        tokens: &[String],
    ) -> Result<Vec<Result<Cell, ItemError>>, CallError> {
        assert!(!tokens.is_empty() && tokens.len() <= 1000);
        let item = |state: &mut State, index: usize| {
            state.records.get(&tokens[index]).cloned().ok_or_else(|| refusal("not_found"))
        };
        self.act(tokens.len(), item, || Cell(Vec::new()))
    }
}

/// An item's error that will not pass.
pub(super) fn refusal(code: &str) -> ItemError {
    ItemError { code: code.to_owned(), detail: "no such record".to_owned(), retryable: false }
}

/// An item's error that may pass.
pub(super) fn passing(code: &str) -> ItemError {
    ItemError { code: code.to_owned(), detail: "come back later".to_owned(), retryable: true }
}

/// A call's error that may pass.
pub(super) fn away() -> Script {
    let message = "the socket is not there".to_owned();
    Script::Fail(CallError::Unavailable { message, retry_after: None })
}
