//! What can go wrong. A kind for each code of the contract, under what an application does about it:
//!
//! ```text
//! Error                         code, detail, retryable, status?, retry_after?, request_id?
//! ├── BadRequest                mend the call; trying again changes nothing
//! │   ├── InvalidRequest        invalid_request
//! │   ├── InvalidToken          invalid_token
//! │   ├── InvalidNamespace      invalid_namespace
//! │   ├── PayloadTooLarge       payload_too_large
//! │   ├── MethodNotAllowed      method_not_allowed
//! │   └── UnsupportedMediaType  unsupported_media_type
//! ├── AccessDenied              the caller, or its user, may not
//! │   ├── Unauthenticated       unauthenticated
//! │   ├── Forbidden             forbidden
//! │   ├── GrantDenied           grant_denied
//! │   └── GrantExpired          grant_expired
//! ├── Gone                      there is no value, and there will be none
//! │   ├── NotFound              not_found
//! │   └── Expired               expired
//! ├── Conflict                  conflict: read again, then decide
//! ├── RateLimited               rate_limited: the same again, after retry_after
//! ├── Unavailable               the same again, later; what a mask and a fallback stand in for
//! │   ├── SidecarUnreachable    sidecar_unreachable: nobody at the socket, or the connection broke
//! │   ├── Overloaded            overloaded
//! │   ├── StorageUnavailable    storage_unavailable
//! │   ├── KeysUnavailable       keys_unavailable
//! │   ├── JournalFull           journal_full
//! │   ├── DeadlineExceeded      deadline_exceeded, also of the call's own deadline
//! │   └── Unavailable           a newer code whose answer says 5xx and retryable
//! ├── SidecarFailed             the operator finds the cause in the log, under request_id
//! │   ├── Corrupted             corrupted
//! │   └── Internal              internal
//! ├── ProtocolError             protocol_error: the answer is not this contract's
//! └── Unknown                   any other newer code: it may be a refusal, which no policy hides
//! ```
//!
//! The upper level is [`ErrorClass`], the lower one [`ErrorKind`]. No message holds a token, a value or a session.

use std::{error, fmt, io, sync::Arc, time::Duration};

macro_rules! kinds {
    ($($class:ident { $($(#[$doc:meta])* $kind:ident = $code:literal,)+ })+) => {
        /// What went wrong: one for each code that this version knows.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[non_exhaustive]
        pub enum ErrorKind {
            $($($(#[$doc])* $kind,)+)+
            /// A code that is newer than this version, of an answer that says 5xx and retryable.
            Unavailable,
            /// Any other code that is newer than this version: it may be a refusal.
            Unknown,
        }

        impl ErrorKind {
            /// Every kind that has a code of its own.
            pub const ALL: &[Self] = &[$($(Self::$kind,)+)+];

            /// What an application does about it.
            pub const fn class(self) -> ErrorClass {
                match self {
                    $($(Self::$kind => ErrorClass::$class,)+)+
                    Self::Unavailable => ErrorClass::Unavailable,
                    Self::Unknown => ErrorClass::Unknown,
                }
            }

            /// Its code; none for what is newer than this version.
            pub const fn code(self) -> Option<&'static str> {
                match self {
                    $($(Self::$kind => Some($code),)+)+
                    Self::Unavailable | Self::Unknown => None,
                }
            }

            fn of_code(code: &str) -> Option<Self> {
                match code { $($($code => Some(Self::$kind),)+)+ _ => None }
            }
        }
    };
}

kinds! {
    BadRequest {
        /// The call says something that cannot be.
        InvalidRequest = "invalid_request",
        /// A text that is no token.
        InvalidToken = "invalid_token",
        /// A text that cannot be a namespace.
        InvalidNamespace = "invalid_namespace",
        /// Larger than a limit.
        PayloadTooLarge = "payload_too_large",
        /// Client and sidecar are of different versions.
        MethodNotAllowed = "method_not_allowed",
        /// Client and sidecar are of different versions.
        UnsupportedMediaType = "unsupported_media_type",
    }
    AccessDenied {
        /// The policy asks for a session, or its JWT proves none.
        Unauthenticated = "unauthenticated",
        /// The policy does not allow it; the detail names the rule.
        Forbidden = "forbidden",
        /// The session was not granted this.
        GrantDenied = "grant_denied",
        /// The session was granted this, and not any more.
        GrantExpired = "grant_expired",
    }
    Gone {
        /// No such token in this namespace, or it was deleted.
        NotFound = "not_found",
        /// The value's time is over.
        Expired = "expired",
    }
    Conflict {
        /// The metadata has another version, or an idempotency key came with another value.
        Conflict = "conflict",
    }
    RateLimited {
        /// This application asks too often.
        RateLimited = "rate_limited",
    }
    Unavailable {
        /// Nobody at the socket, or the connection broke.
        SidecarUnreachable = "sidecar_unreachable",
        /// The sidecar has too much to do, or this process has too many calls under way.
        Overloaded = "overloaded",
        /// Storage is away.
        StorageUnavailable = "storage_unavailable",
        /// Keys are away.
        KeysUnavailable = "keys_unavailable",
        /// Storage is away, and no more writes can wait for it.
        JournalFull = "journal_full",
        /// The sidecar's deadline, or the call's own. A write may have been done.
        DeadlineExceeded = "deadline_exceeded",
    }
    SidecarFailed {
        /// The stored record fails its integrity check.
        Corrupted = "corrupted",
        /// A defect of the sidecar.
        Internal = "internal",
    }
    ProtocolError {
        /// What came back is not this contract: something else listens there, or another version.
        ProtocolError = "protocol_error",
    }
}

/// What an application does about an error.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum ErrorClass {
    /// Mend the call; trying again changes nothing.
    BadRequest,
    /// Say no: the caller, or its user, may not.
    AccessDenied,
    /// There is no value under this token, and there will be none.
    Gone,
    /// Read again, then decide.
    Conflict,
    /// The same again, after [`Error::retry_after`].
    RateLimited,
    /// The same again, later: nobody can answer just now.
    Unavailable,
    /// Look for [`Error::request_id`] in the sidecar's log.
    SidecarFailed,
    /// Something else listens there, or another version.
    ProtocolError,
    /// A code that is newer than this version.
    Unknown,
}

/// See the [module](self).
#[derive(Clone)]
pub struct Error(Arc<Inner>);

struct Inner {
    kind: ErrorKind,
    /// Only of a kind that has none.
    code: Option<Box<str>>,
    detail: Box<str>,
    facts: Facts,
}

/// What is known of an error beside its code and detail.
#[derive(Default)]
pub(crate) struct Facts {
    pub(crate) status: Option<u16>,
    pub(crate) retryable: bool,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) request_id: Option<Box<str>>,
    pub(crate) sent: bool,
    pub(crate) cause: Option<io::Error>,
}

/// What can be printed of a code that is newer than this version: whoever sent it may have put anything there.
fn printable(code: &str) -> bool {
    (1..=64).contains(&code.len())
        && code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, detail: impl Into<Box<str>>, facts: Facts) -> Self {
        Self(Arc::new(Inner { kind, code: None, detail: detail.into(), facts }))
    }

    /// The error of a code that the sidecar gave.
    pub(crate) fn of_code(code: &str, detail: &str, facts: Facts) -> Self {
        if let Some(kind) = ErrorKind::of_code(code) {
            return Self::new(kind, detail, facts);
        }
        let away = facts.retryable && facts.status.is_some_and(|status| status >= 500);
        let kind = if away { ErrorKind::Unavailable } else { ErrorKind::Unknown };
        let code = if printable(code) { code } else { "unreadable_code" };
        Self(Arc::new(Inner { kind, code: Some(code.into()), detail: detail.into(), facts }))
    }

    pub(crate) fn invalid(detail: impl Into<Box<str>>) -> Self {
        Self::new(ErrorKind::InvalidRequest, detail, Facts::default())
    }

    pub(crate) fn unreachable(detail: impl Into<Box<str>>, facts: Facts) -> Self {
        Self::new(ErrorKind::SidecarUnreachable, detail, facts)
    }

    /// A parser's error may quote the body: it is not passed on.
    pub(crate) fn misread(what: &str, request_id: Option<Box<str>>) -> Self {
        let detail = format!(
            "the answer was not understood: {what}; is something else listening, or are client and sidecar of different versions?"
        );
        Self::new(ErrorKind::ProtocolError, detail, Facts { request_id, ..Facts::default() })
    }

    pub(crate) fn late(within: Duration) -> Self {
        let detail = format!(
            "there was no answer within {} ms; a write may have been done",
            within.as_millis()
        );
        Self::new(
            ErrorKind::DeadlineExceeded,
            detail,
            Facts { retryable: true, ..Facts::default() },
        )
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What to do about it.
    pub fn class(&self) -> ErrorClass {
        self.0.kind.class()
    }

    /// Whether nobody can answer just now: what a mask and a fallback stand in for.
    pub fn is_unavailable(&self) -> bool {
        self.class() == ErrorClass::Unavailable
    }

    /// For programs: the contract's code, or `sidecar_unreachable`, or `protocol_error`.
    pub fn code(&self) -> &str {
        self.0.code.as_deref().or(self.0.kind.code()).unwrap_or("unknown")
    }

    /// For people: what happened and what to do.
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// Whether the same call may succeed later. The client has tried already, as far as its policy goes.
    pub fn retryable(&self) -> bool {
        self.0.facts.retryable
    }

    /// The HTTP status of the answer; none where there was no answer, and for an item of a batch.
    pub fn status(&self) -> Option<u16> {
        self.0.facts.status
    }

    /// When to try again, where the sidecar said so.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.facts.retry_after
    }

    /// Names the request in the sidecar's log, where there was an answer.
    pub fn request_id(&self) -> Option<&str> {
        self.0.facts.request_id.as_deref()
    }

    /// Whether a request had left when the connection broke: a write may have been done.
    pub fn sent(&self) -> bool {
        self.0.facts.sent
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code(), self.0.detail)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Error");
        shown.field("code", &self.code()).field("detail", &self.detail());
        shown.field("retryable", &self.retryable());
        if let Some(status) = self.status() {
            shown.field("status", &status);
        }
        if let Some(after) = self.retry_after() {
            shown.field("retry_after", &after);
        }
        if let Some(id) = self.request_id() {
            shown.field("request_id", &id);
        }
        shown.finish()
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.0.facts.cause.as_ref().map(|cause| cause as _)
    }
}
