//! What can go wrong:
//!
//! ```text
//! Error
//! ├── Unsendable    no header can hold what is said     name it otherwise; nothing was sent
//! ├── TooLong       nor that much of it                 shorten it; nothing was sent
//! ├── Unreachable   no sidecar at the socket            try again later
//! ├── TimedOut      it did not answer in time           retry with the same idempotency key
//! ├── Broken        the connection broke in an answer   retry with the same idempotency key
//! ├── Protocol      what came is not this contract      a defect, or another version
//! └── Api           the sidecar answered with a code    see its code, detail and retryable
//! ```

use std::{fmt, io, path::PathBuf};

use lunasec_api as api;

/// See the module.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No header can hold what is said beside the body. Nothing was sent.
    #[error(
        "the {what} cannot be sent: a header holds text without control characters, at least one \
         character, and no space at either end"
    )]
    Unsendable {
        /// What it is.
        what: &'static str,
    },
    /// More is said beside the body than a request's head can hold. Nothing was sent.
    #[error(
        "namespace, session, JWT and purpose are longer than 14 KiB together, which is more than a \
         request can say beside its body; shorten them"
    )]
    TooLong,
    /// No sidecar at the socket.
    #[error("no sidecar answers at {}: {source}; start one, or set LUNASEC_SOCKET", socket.display())]
    Unreachable {
        /// Where it was looked for.
        socket: PathBuf,
        /// Why it could not be reached.
        source: io::Error,
    },
    /// It did not answer in time; a write may have been done.
    #[error("the sidecar did not answer in time")]
    TimedOut,
    /// The connection broke; a write may have been done.
    #[error("the connection to the sidecar broke")]
    Broken(#[source] hyper::Error),
    /// What came is not this contract.
    #[error("the sidecar's answer was not understood: {0}")]
    Protocol(String),
    /// The sidecar answered with an error.
    #[error(transparent)]
    Api(#[from] ApiError),
}

impl Error {
    /// Whether the same request may succeed later. With an idempotency key it is safe to send a
    /// tokenize again.
    pub fn retryable(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::TimedOut | Self::Broken(_) => true,
            Self::Unsendable { .. } | Self::TooLong | Self::Protocol(_) => false,
            Self::Api(error) => error.retryable,
        }
    }
}

/// An error with a code of the wire contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// For programs; see [`api::Code`].
    pub code: String,
    /// For people.
    pub detail: String,
    /// Whether the same request may succeed later.
    pub retryable: bool,
}

impl ApiError {
    pub(crate) fn from_item(error: api::ItemError<'_>) -> Self {
        Self {
            code: error.code.into_owned(),
            detail: error.detail.into_owned(),
            retryable: error.retryable,
        }
    }

    pub(crate) fn from_problem(problem: api::Problem<'_>) -> Self {
        Self {
            code: problem.code.into_owned(),
            detail: problem.detail.into_owned(),
            retryable: problem.retryable,
        }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}

impl std::error::Error for ApiError {}
