use std::{fmt, str::FromStr};

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)+) => {
        /// What went wrong, for programs. Stable: a code is never renamed or given another meaning.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Code { $($(#[$doc])* $name,)+ }

        impl Code {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// As it stands in an answer.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }
        }
    };
}

codes! {
    /// The request does not say what the route needs.
    InvalidRequest = "invalid_request",
    /// A text that is not a token.
    InvalidToken = "invalid_token",
    /// A text that cannot be a namespace.
    InvalidNamespace = "invalid_namespace",
    /// No acceptable proof of who is asking.
    Unauthenticated = "unauthenticated",
    /// The policy does not allow it.
    Forbidden = "forbidden",
    /// No grant for this session and token.
    GrantDenied = "grant_denied",
    /// There was a grant; it has ended.
    GrantExpired = "grant_expired",
    /// No such token here, or no such route.
    NotFound = "not_found",
    /// The route exists, for another method.
    MethodNotAllowed = "method_not_allowed",
    /// Something else was written meanwhile, or an idempotency key came with another body.
    Conflict = "conflict",
    /// The value's time is over.
    Expired = "expired",
    /// Larger than a limit.
    PayloadTooLarge = "payload_too_large",
    /// Not JSON.
    UnsupportedMediaType = "unsupported_media_type",
    /// This caller asks too often.
    RateLimited = "rate_limited",
    /// The sidecar has too much to do.
    Overloaded = "overloaded",
    /// Storage is away.
    StorageUnavailable = "storage_unavailable",
    /// Keys are away.
    KeysUnavailable = "keys_unavailable",
    /// Storage is away and the journal is full.
    JournalFull = "journal_full",
    /// It took too long although every dependency answers.
    DeadlineExceeded = "deadline_exceeded",
    /// A stored record fails its integrity check.
    Corrupted = "corrupted",
    /// A defect of the sidecar.
    Internal = "internal",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is not a code of this version.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub struct UnknownCode;

impl FromStr for Code {
    type Err = UnknownCode;

    fn from_str(text: &str) -> Result<Self, UnknownCode> {
        Self::ALL.iter().copied().find(|code| code.as_str() == text).ok_or(UnknownCode)
    }
}
