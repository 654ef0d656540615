//! What a verb answers when it cannot do its work: a code, words for the caller, and a cause for
//! the log. The two never mix: the cause does not leave the process.

use std::{borrow::Cow, fmt, time::Duration};

use lunasec_api::Code;

use crate::{keys::KeyError, store::StoreError};

/// A failed operation.
#[derive(Clone)]
pub struct Failure {
    /// For programs.
    pub code: Code,
    /// What happened and what to do. Never a token, a value or a cause.
    pub detail: Cow<'static, str>,
    cause: Option<String>,
    retry_after: Option<Duration>,
}

impl Failure {
    /// A failure that the caller brought about.
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { code, detail: detail.into(), cause: None, retry_after: None }
    }

    /// A failure with a cause that only the log may show.
    pub fn caused(code: Code, detail: &'static str, cause: impl fmt::Display) -> Self {
        Self { cause: Some(cause.to_string()), ..Self::new(code, detail) }
    }

    /// The same, with how long to wait before the next attempt.
    pub fn after(self, wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..self }
    }

    /// How long to wait before the next attempt, where more is known than the code says.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// For the log.
    pub fn cause(&self) -> Option<&str> {
        self.cause.as_deref()
    }

    /// No value lies under the token.
    pub fn not_found() -> Self {
        Self::new(Code::NotFound, "there is no value for this token in this namespace")
    }

    /// The value's time is over.
    pub fn expired() -> Self {
        Self::new(Code::Expired, "the value has expired")
    }

    /// A record does not open.
    pub fn corrupted(cause: impl fmt::Display) -> Self {
        Self::caused(
            Code::Corrupted,
            "the stored record fails its integrity check; restore it from a backup",
            cause,
        )
    }

    /// A defect.
    pub fn internal(cause: impl fmt::Display) -> Self {
        Self::caused(
            Code::Internal,
            "the sidecar failed; its log has the cause under this request id",
            cause,
        )
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.code, self.detail, self.cause().unwrap_or("no cause"))
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Precondition => Self::new(
                Code::Conflict,
                "something else was written at the same time; read again and retry",
            ),
            error @ (StoreError::Unavailable(_) | StoreError::Away) => Self::caused(
                Code::StorageUnavailable,
                "storage does not answer; try again later",
                error,
            ),
            StoreError::Refused(cause) => Self::caused(
                Code::StorageUnavailable,
                "storage refuses to work for this sidecar; its operator finds the reason in the log",
                cause,
            ),
            StoreError::Unknown(cause) => Self::caused(
                Code::StorageUnavailable,
                "storage does not answer, and what lies there was not seen here; try again later",
                cause,
            ),
            StoreError::Full(cause) => Self::caused(
                Code::JournalFull,
                "storage does not answer, and the journal that bridges that is full; try again later",
                cause,
            ),
            StoreError::Throttled(cause) | StoreError::Again(cause) => Self::caused(
                Code::StorageUnavailable,
                "storage is too busy; try again later",
                cause,
            ),
            StoreError::Overloaded => Self::new(
                Code::Overloaded,
                "too many requests to storage wait already; try again later",
            ),
            StoreError::Corrupted(cause) => Self::corrupted(cause),
        }
    }
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Store(error) if error.is_away() => Self::caused(
                Code::KeysUnavailable,
                "the data key lies in storage, which does not answer; try again later",
                error,
            ),
            KeyError::Store(error) => error.into(),
            KeyError::Unavailable(cause) => Self::caused(
                Code::KeysUnavailable,
                "the keys are not available; try again later",
                cause,
            ),
            KeyError::Refused(cause) => Self::caused(
                Code::KeysUnavailable,
                "the configured key refuses to make or unwrap the data key; the sidecar's operator finds what to do in the log",
                cause,
            ),
            KeyError::Throttled(cause) => Self::caused(
                Code::KeysUnavailable,
                "the keeper of keys is too busy; try again later",
                cause,
            ),
            KeyError::Overloaded => Self::new(
                Code::Overloaded,
                "too many requests for keys wait already; try again later",
            ),
            KeyError::Corrupted(cause) => Self::corrupted(cause),
        }
    }
}

impl From<crate::env::NoEntropy> for Failure {
    fn from(error: crate::env::NoEntropy) -> Self {
        Self::internal(error)
    }
}
