//! One call to the sidecar, again and again if need be.

use std::time::Duration;

use super::{
    Batches, CallError, Cell, Direction, FileError, ItemError, batch::Batch, guard::is_token,
    job::Job,
};

/// The code of an item whose value did not fit into the answer beside the others.
const TOO_LARGE: &str = "payload_too_large";

/// How to deal with failures that may pass.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retry {
    /// Calls without any progress until the run stops.
    pub(super) attempts: u32,
    /// The first pause; each is twice the one before.
    pub(super) first: Duration,
    /// The longest pause that is chosen here.
    pub(super) longest: Duration,
    /// The longest pause that the sidecar may ask for: a rate limit opens again after a minute.
    pub(super) longest_asked: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 6,
            first: Duration::from_millis(250),
            longest: Duration::from_secs(5),
            longest_asked: Duration::from_secs(60),
        }
    }
}

impl Retry {
    fn pause(&self, attempt: u32, asked: Option<Duration>) -> Duration {
        let own = self.first.saturating_mul(1 << (attempt - 1).min(16)).min(self.longest);
        own.max(asked.unwrap_or_default().min(self.longest_asked))
    }
}

/// Why a call brought nothing.
enum Failure {
    Item { index: usize, error: ItemError },
    Call(CallError),
}

impl Failure {
    fn broken(message: &str) -> Self {
        Self::Call(CallError::Fatal { message: message.to_owned() })
    }

    fn may_pass(&self) -> bool {
        match self {
            Self::Item { error, .. } => error.retryable,
            Self::Call(error) => matches!(error, CallError::Unavailable { .. }),
        }
    }

    fn is_too_large(&self) -> bool {
        matches!(self, Self::Item { error, .. } if error.code == TOO_LARGE)
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Call(CallError::Unavailable { retry_after, .. }) => *retry_after,
            _ => None,
        }
    }
}

/// Asks the sidecar on behalf of a job.
pub(super) struct Caller<'a, B> {
    pub(super) job: &'a Job,
    pub(super) batches: &'a mut B,
    pub(super) retry: Retry,
    /// Whether errors may promise that the run can be resumed.
    pub(super) resumable: bool,
}

impl<B: Batches> Caller<'_, B> {
    /// Asks for the answers to the batch's next cells until there is at least one. For tokens,
    /// until all of the call's are there: under its key a call is only repeated as it was.
    pub(super) async fn ask(&mut self, key: &str, batch: &Batch) -> Result<Vec<Cell>, FileError> {
        let direction = self.job.direction;
        let mut values = batch.unanswered();
        let mut attempts = 1;
        loop {
            let failure = match call(direction, self.batches, key, values).await {
                Ok(answers) => return Ok(answers),
                Err(failure) => failure,
            };
            if failure.is_too_large() && direction == Direction::Detokenize && values.len() > 1 {
                values = &values[..1];
                continue;
            }
            if !failure.may_pass() || attempts >= self.retry.attempts {
                return Err(self.stop(failure, attempts, batch));
            }
            tokio::time::sleep(self.retry.pause(attempts, failure.retry_after())).await;
            attempts += 1;
        }
    }

    fn stop(&self, failure: Failure, attempts: u32, batch: &Batch) -> FileError {
        let resumable = self.resumable;
        match failure {
            Failure::Item { index, error: ItemError { code, detail, .. } } => {
                let cell = batch.cell(batch.answered() + index);
                let column = self.job.columns[cell.column].clone();
                FileError::Item { row: cell.row, column, code, detail, resumable }
            }
            Failure::Call(CallError::Unavailable { message, .. }) => {
                FileError::Unavailable { message, attempts, resumable }
            }
            Failure::Call(CallError::Fatal { message }) => {
                FileError::Refused { message, resumable }
            }
        }
    }
}

async fn call<B: Batches>(
    direction: Direction,
    batches: &mut B,
    key: &str,
    values: &[Cell],
) -> Result<Vec<Cell>, Failure> {
    match direction {
        Direction::Tokenize => {
            let tokens = batches.tokenize(key, values).await.map_err(Failure::Call)?;
            all_tokens(tokens, values.len())
        }
        Direction::Detokenize => {
            let tokens: Vec<_> =
                values.iter().map(|cell| String::from_utf8_lossy(&cell.0).into_owned()).collect();
            let values = batches.detokenize(&tokens).await.map_err(Failure::Call)?;
            leading_values(values, tokens.len())
        }
    }
}

/// Every item's token, or why there is none; a failure that will not pass goes first.
fn all_tokens(
    items: Vec<Result<String, ItemError>>,
    expected: usize,
) -> Result<Vec<Cell>, Failure> {
    if items.len() != expected {
        return Err(Failure::broken("the sidecar answered another number of items"));
    }
    let mut tokens = Vec::with_capacity(expected);
    let mut passing = None;
    for (index, item) in items.into_iter().enumerate() {
        match item {
            Ok(token) => tokens.push(Cell(token.into_bytes())),
            Err(error) if error.retryable => {
                passing.get_or_insert(Failure::Item { index, error });
            }
            Err(error) => return Err(Failure::Item { index, error }),
        }
    }
    match passing {
        Some(failure) => Err(failure),
        None if tokens.iter().all(is_token) => Ok(tokens),
        None => Err(Failure::broken("the sidecar answered something that is not a token")),
    }
}

/// The values before the first failure, or that failure if it is the first item. The rest is asked
/// again: an answer has a size and a rate that a thousand values may exceed.
fn leading_values(
    items: Vec<Result<Cell, ItemError>>,
    expected: usize,
) -> Result<Vec<Cell>, Failure> {
    if items.len() != expected {
        return Err(Failure::broken("the sidecar answered another number of items"));
    }
    let mut values = Vec::with_capacity(expected);
    for (index, item) in items.into_iter().enumerate() {
        match item {
            Ok(value) => values.push(value),
            Err(error) if index == 0 => return Err(Failure::Item { index, error }),
            Err(_) => break,
        }
    }
    Ok(values)
}
