//! What a failed request to AWS means, in one table: error codes of S3 and KMS, and what to do.

use std::{error::Error, fmt::Write as _, time::Duration};

use aws_sdk_s3::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};

/// How a request failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// What it names is not there.
    Absent,
    /// Its condition does not hold.
    Precondition,
    /// The server does not know it.
    Unsupported,
    /// The server knows it, and will not do it until something is changed.
    Refused,
    /// What was sent to be opened is damaged, or was sealed for something else.
    Damaged,
    /// It was not answered, or not for good: another attempt may succeed. Its effect is unknown.
    Unavailable,
}

/// A failed request.
#[derive(Clone, Debug)]
pub struct Trouble {
    /// How.
    pub kind: Kind,
    /// What the log says of it: never a secret.
    pub cause: String,
}

/// Characters of a server's words that are repeated.
const WORDS: usize = 300;

/// Codes of S3 and KMS. What is not here is judged by its status.
const TABLE: &[(&str, Kind, &str)] = &[
    ("NoSuchKey", Kind::Absent, ""),
    ("NotFound", Kind::Absent, ""),
    ("NoSuchLifecycleConfiguration", Kind::Absent, ""),
    ("NoSuchPublicAccessBlockConfiguration", Kind::Absent, ""),
    ("PreconditionFailed", Kind::Precondition, ""),
    ("NotImplemented", Kind::Unsupported, ""),
    // Another write is under way; whether it takes effect will be seen at the next attempt.
    ("ConditionalRequestConflict", Kind::Unavailable, ""),
    ("NoSuchBucket", Kind::Refused, "create the bucket, or correct storage.bucket"),
    (
        "AccessDenied",
        Kind::Refused,
        "grant what the IAM policy in the documentation grants; without s3:ListBucket a missing object looks like this too",
    ),
    (
        "AccessDeniedException",
        Kind::Refused,
        "grant what the IAM policy in the documentation grants, in the key's policy too",
    ),
    ("PermanentRedirect", Kind::Refused, REGION),
    ("AuthorizationHeaderMalformed", Kind::Refused, REGION),
    ("IllegalLocationConstraintException", Kind::Refused, REGION),
    ("RequestTimeTooSkewed", Kind::Refused, CLOCK),
    ("RequestExpired", Kind::Refused, CLOCK),
    ("InvalidAccessKeyId", Kind::Refused, CREDENTIALS),
    ("SignatureDoesNotMatch", Kind::Refused, CREDENTIALS),
    ("InvalidSignatureException", Kind::Refused, CREDENTIALS),
    ("UnrecognizedClientException", Kind::Refused, CREDENTIALS),
    ("IncompleteSignature", Kind::Refused, CREDENTIALS),
    // They are renewed, which takes a moment.
    ("ExpiredToken", Kind::Unavailable, "the credentials have expired and are renewed"),
    ("ExpiredTokenException", Kind::Unavailable, "the credentials have expired and are renewed"),
    ("RequestTimeout", Kind::Unavailable, ""),
    ("SlowDown", Kind::Unavailable, ""),
    ("ThrottlingException", Kind::Unavailable, ""),
    ("LimitExceededException", Kind::Unavailable, ""),
    (
        "NotFoundException",
        Kind::Refused,
        "create the KMS key, or correct keys.key_id and keys.region",
    ),
    ("DisabledException", Kind::Refused, "enable the KMS key again"),
    (
        "KMSInvalidStateException",
        Kind::Refused,
        "cancel the KMS key's deletion, or finish its import, and enable it",
    ),
    ("IncorrectKeyException", Kind::Refused, "add the KMS key it is under to keys.accept_key_ids"),
    ("InvalidKeyUsageException", Kind::Refused, "use a symmetric KMS key for encryption"),
    ("InvalidCiphertextException", Kind::Damaged, ""),
    ("KeyUnavailableException", Kind::Unavailable, ""),
    ("DependencyTimeoutException", Kind::Unavailable, ""),
    ("KMSInternalException", Kind::Unavailable, ""),
];

const REGION: &str = "the bucket is in another region; correct storage.region";
const CLOCK: &str = "this machine's clock is wrong; set it, best by NTP";
const CREDENTIALS: &str = "correct the AWS credentials";
const NO_CREDENTIALS: &str = "no AWS credentials were found: give them by environment, profile, web identity, pod identity or instance role";

impl Trouble {
    /// It was not answered.
    pub fn unavailable(action: &str, why: impl std::fmt::Display) -> Self {
        Self { kind: Kind::Unavailable, cause: format!("{action}: {why}") }
    }

    /// What the SDK says, judged.
    pub fn of<E>(action: &str, error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let status = error.raw_response().map(|response| response.status().as_u16());
        match (status, error) {
            (Some(status), SdkError::ServiceError(_)) => {
                Self::answered(action, status, error.code(), error.message())
            }
            (_, SdkError::TimeoutError(_)) => Self::unavailable(action, "no answer in time"),
            _ => Self::unanswered(action, error),
        }
    }

    fn answered(action: &str, status: u16, code: Option<&str>, message: Option<&str>) -> Self {
        let code = code.unwrap_or(if status < 300 { "an answer of another form" } else { "" });
        let row = |code: &str| TABLE.iter().find(|(name, ..)| *name == code);
        let forbidden = || row("AccessDenied").filter(|_| status == 403);
        let known = row(code).or_else(forbidden);
        let (kind, advice) = match known {
            Some((_, kind, advice)) => (*kind, *advice),
            None => (by_status(status), ""),
        };
        let mut cause = format!("{action}: {status} {}", plain(code));
        for words in [message.map(plain).unwrap_or_default(), advice.to_owned()] {
            if !words.is_empty() {
                // Writing to a string cannot fail.
                let _ = write!(cause, "; {words}");
            }
        }
        Self { kind, cause }
    }

    /// Names every error down the chain: the last is the one that says why.
    fn unanswered(action: &str, error: &(dyn Error + 'static)) -> Self {
        let mut words = error.to_string();
        let mut next = error.source();
        while let Some(error) = next {
            let _ = write!(words, ": {error}");
            next = error.source();
        }
        let advice = if words.contains("credential") { NO_CREDENTIALS } else { "" };
        let mut cause = format!("{action}: {}", plain(&words));
        if !advice.is_empty() {
            let _ = write!(cause, "; {advice}");
        }
        Self { kind: Kind::Unavailable, cause }
    }
}

fn by_status(status: u16) -> Kind {
    match status {
        ..300 => Kind::Unsupported,
        409 | 429 | 500.. => Kind::Unavailable,
        412 => Kind::Precondition,
        _ => Kind::Refused,
    }
}

/// A server's words, shortened, and with nothing that a terminal obeys.
fn plain(words: &str) -> String {
    words.chars().take(WORDS).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// One attempt of a request, from its first byte to the last of its answer.
pub async fn attempt<T>(
    action: &str,
    time: Duration,
    request: impl Future<Output = Result<T, Trouble>>,
) -> Result<T, Trouble> {
    match tokio::time::timeout(time, request).await {
        Ok(result) => result,
        Err(_) => Err(Trouble::unavailable(action, format_args!("no answer within {time:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_one_meaning() {
        for (at, (code, ..)) in TABLE.iter().enumerate() {
            assert!(TABLE[..at].iter().all(|(other, ..)| other != code), "{code}");
        }
    }

    #[test]
    fn answers_are_judged_by_code_and_else_by_status() {
        let kind = |status, code| Trouble::answered("x", status, Some(code), None).kind;
        assert_eq!(kind(404, "NoSuchKey"), Kind::Absent);
        assert_eq!(kind(404, "NoSuchBucket"), Kind::Refused);
        assert_eq!(kind(403, "AccessDenied"), Kind::Refused);
        assert_eq!(kind(409, "ConditionalRequestConflict"), Kind::Unavailable);
        assert_eq!(kind(412, "PreconditionFailed"), Kind::Precondition);
        assert_eq!(kind(400, "DisabledException"), Kind::Refused);
        assert_eq!(kind(400, "ThrottlingException"), Kind::Unavailable);
        for (status, expected) in [
            // Some server's 404 does not say that an object is not there.
            (404, Kind::Refused),
            (200, Kind::Unsupported),
            (403, Kind::Refused),
            (412, Kind::Precondition),
            (409, Kind::Unavailable),
            (429, Kind::Unavailable),
            (500, Kind::Unavailable),
            (503, Kind::Unavailable),
        ] {
            assert_eq!(kind(status, "SomethingNew"), expected, "{status}");
        }
    }

    #[test]
    fn a_cause_says_what_to_do_and_obeys_no_server() {
        let trouble = Trouble::answered("read", 404, Some("NoSuchBucket"), Some("gone\u{1b}[2J\n"));
        assert_eq!(
            trouble.cause,
            "read: 404 NoSuchBucket; gone [2J ; create the bucket, or correct storage.bucket"
        );
        let long = Trouble::answered("read", 400, Some("X"), Some(&"é".repeat(1_000)));
        assert!(long.cause.chars().count() < 400);
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_has_its_time() {
        let never = std::future::pending::<Result<(), Trouble>>();
        let trouble = attempt("read", Duration::from_secs(2), never).await.unwrap_err();
        assert_eq!(
            (trouble.kind, trouble.cause.as_str()),
            (Kind::Unavailable, "read: no answer within 2s")
        );
    }
}
