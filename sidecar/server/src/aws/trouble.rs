//! What a failed request to AWS means, in one table: error codes of S3 and KMS, and what to do.

use std::{error::Error, fmt::Write as _, time::Duration};

use aws_sdk_s3::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};
use lunasec_core::limits;

use crate::{gate::Gate, within::within};

/// How a request failed. What follows from that is said once for each dependency: of
/// [`StoreError`](crate::store::StoreError) and of [`KeyError`](crate::keys::KeyError).
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
    /// The server is there and did not do it, because it is asked too much.
    Throttled,
    /// The server is there, and it came to nothing this time: another attempt may succeed.
    Again,
    /// It was not sent: too many others wait already.
    Crowded,
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

/// By what a failure is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Sign {
    /// The code of an answer.
    Code(&'static str),
    /// The status of an answer whose code is not in the table.
    Status(u16),
    /// Words of the error that there is instead of an answer.
    Words(&'static str),
}

use Sign::{Code, Status, Words};

/// One row of the table.
struct Row {
    sign: Sign,
    kind: Kind,
    /// What to do about it.
    advice: &'static str,
}

const fn row(sign: Sign, kind: Kind, advice: &'static str) -> Row {
    Row { sign, kind, advice }
}

/// Without an answer, or without a whole one. The first row that fits counts.
const UNANSWERED: &[Row] = &[
    row(Words("credential"), Kind::Unavailable, NO_CREDENTIALS),
    row(
        Words("dns error"),
        Kind::Unavailable,
        "correct the endpoint and region, or this machine's name servers",
    ),
    row(
        Words("Connection refused"),
        Kind::Unavailable,
        "nothing listens at the endpoint; correct it, or start what should",
    ),
    row(
        Words("connect timeout"),
        Kind::Unavailable,
        "the endpoint is not reached; look at routes, firewalls and VPC endpoints",
    ),
    row(
        Words("certificate"),
        Kind::Unavailable,
        "no certificate authority of this machine vouches for the endpoint",
    ),
    row(Words("no answer within"), Kind::Unavailable, ""),
    row(Words("reset by peer"), Kind::Unavailable, ""),
    row(Words("before message completed"), Kind::Unavailable, ""),
    row(Words("end of file before message"), Kind::Unavailable, ""),
    row(Words("checksum mismatch"), Kind::Again, ""),
];

/// What S3 says.
const STORAGE: &[Row] = &[
    row(Code("NoSuchKey"), Kind::Absent, ""),
    // What the SDK makes of a 404 without a body, which is not S3's.
    row(Code("NotFound"), Kind::Refused, STRANGER),
    row(Code("NoSuchLifecycleConfiguration"), Kind::Absent, ""),
    row(Code("NoSuchPublicAccessBlockConfiguration"), Kind::Absent, ""),
    row(Code("PreconditionFailed"), Kind::Precondition, ""),
    row(Code("NotImplemented"), Kind::Unsupported, ""),
    // Another write is under way; whether it takes effect will be seen at the next attempt.
    row(Code("ConditionalRequestConflict"), Kind::Again, ""),
    row(Code("OperationAborted"), Kind::Again, ""),
    // What was sent came in damaged.
    row(Code("BadDigest"), Kind::Again, ""),
    row(Code("XAmzContentSHA256Mismatch"), Kind::Again, ""),
    row(Code("XAmzContentChecksumMismatch"), Kind::Again, ""),
    row(Code("NoSuchBucket"), Kind::Refused, "create the bucket, or correct storage.bucket"),
    row(Code("AccessDenied"), Kind::Refused, PERMISSIONS),
    row(Code("PermanentRedirect"), Kind::Refused, REGION),
    row(Code("AuthorizationHeaderMalformed"), Kind::Refused, REGION),
    row(Code("IllegalLocationConstraintException"), Kind::Refused, REGION),
    row(Code("RequestTimeTooSkewed"), Kind::Refused, CLOCK),
    row(Code("RequestExpired"), Kind::Refused, CLOCK),
    row(Code("InvalidAccessKeyId"), Kind::Refused, CREDENTIALS),
    row(Code("SignatureDoesNotMatch"), Kind::Refused, CREDENTIALS),
    // They are renewed, which takes a moment; until then nothing can be asked.
    row(Code("ExpiredToken"), Kind::Unavailable, EXPIRED),
    row(Code("SlowDown"), Kind::Throttled, ""),
    row(Code("RequestLimitExceeded"), Kind::Throttled, ""),
    row(Code("TooManyRequests"), Kind::Throttled, ""),
    row(Code("BandwidthLimitExceeded"), Kind::Throttled, ""),
    row(Code("RequestTimeout"), Kind::Unavailable, ""),
    row(Code("InternalError"), Kind::Unavailable, ""),
    row(Code("ServiceUnavailable"), Kind::Unavailable, ""),
];

/// What KMS says.
const KEYS: &[Row] = &[
    row(
        Code("AccessDeniedException"),
        Kind::Refused,
        "grant what the IAM policy in the documentation grants, in the key's policy too",
    ),
    row(Code("InvalidSignatureException"), Kind::Refused, CREDENTIALS),
    row(Code("UnrecognizedClientException"), Kind::Refused, CREDENTIALS),
    row(Code("IncompleteSignature"), Kind::Refused, CREDENTIALS),
    row(
        Code("NotFoundException"),
        Kind::Refused,
        "create the KMS key, or correct keys.key_id and keys.region",
    ),
    row(Code("DisabledException"), Kind::Refused, "enable the KMS key again"),
    row(
        Code("KMSInvalidStateException"),
        Kind::Refused,
        "cancel the KMS key's deletion, or finish its import, and enable it",
    ),
    row(
        Code("IncorrectKeyException"),
        Kind::Refused,
        "add the KMS key it is under to keys.accept_key_ids",
    ),
    row(Code("InvalidKeyUsageException"), Kind::Refused, "use a symmetric KMS key for encryption"),
    row(Code("InvalidCiphertextException"), Kind::Damaged, ""),
    row(Code("ExpiredTokenException"), Kind::Unavailable, EXPIRED),
    row(Code("ThrottlingException"), Kind::Throttled, ""),
    row(Code("LimitExceededException"), Kind::Throttled, ""),
    row(Code("KeyUnavailableException"), Kind::Unavailable, ""),
    row(Code("DependencyTimeoutException"), Kind::Unavailable, ""),
    row(Code("KMSInternalException"), Kind::Unavailable, ""),
];

/// What either says, or a server that is like them, with a code that is not above.
const OTHERS: &[Row] = &[
    row(
        Status(200),
        Kind::Unsupported,
        "the server does not speak the protocol; correct the endpoint",
    ),
    row(Status(403), Kind::Refused, PERMISSIONS),
    row(Status(404), Kind::Refused, ""),
    row(Status(409), Kind::Again, ""),
    row(Status(412), Kind::Precondition, ""),
    row(Status(429), Kind::Throttled, ""),
    row(Status(500), Kind::Unavailable, ""),
];

/// The whole table, which is also in `docs/failures.md`.
const TABLE: [&[Row]; 4] = [UNANSWERED, STORAGE, KEYS, OTHERS];

const STRANGER: &str = "something else answers in the place of S3; correct the endpoint";
const REGION: &str = "the bucket is in another region; correct storage.region";
const CLOCK: &str = "this machine's clock is wrong; set it, best by NTP";
const CREDENTIALS: &str = "correct the AWS credentials";
const EXPIRED: &str = "the credentials have expired and are renewed";
const PERMISSIONS: &str = "grant what the IAM policy in the documentation grants; without s3:ListBucket a missing object looks like this too";
const NO_CREDENTIALS: &str = "no AWS credentials were found: give them by environment, profile, web identity, pod identity or instance role";

impl Trouble {
    /// It was not answered, as the words say.
    pub fn unavailable(action: &str, why: impl std::fmt::Display) -> Self {
        let why = why.to_string();
        let said = |row: &&Row| matches!(row.sign, Words(words) if why.contains(words));
        let known = UNANSWERED.iter().find(said);
        let mut cause = format!("{action}: {}", plain(&why));
        add(&mut cause, known.map_or("", |row| row.advice));
        Self { kind: known.map_or(Kind::Unavailable, |row| row.kind), cause }
    }

    /// It was not sent.
    pub fn crowded(action: &str) -> Self {
        Self { kind: Kind::Crowded, cause: format!("{action}: too many requests wait already") }
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
            _ => Self::unanswered(action, error),
        }
    }

    fn answered(action: &str, status: u16, code: Option<&str>, message: Option<&str>) -> Self {
        let code = code.unwrap_or(if status < 300 { "an answer of another form" } else { "" });
        let said = Status(class(status));
        let known = find(|sign| matches!(sign, Code(known) if known == code))
            .or_else(|| find(|sign| sign == said));
        let kind = known.map_or(Kind::Refused, |row| row.kind);
        let mut cause = format!("{action}: {status} {}", plain(code));
        for words in [&*message.map(plain).unwrap_or_default(), known.map_or("", |row| row.advice)]
        {
            add(&mut cause, words);
        }
        Self { kind, cause }
    }

    /// What is there instead of an answer. Names every error down the chain: the last is the one that says
    /// why.
    pub fn unanswered(action: &str, error: &(dyn Error + 'static)) -> Self {
        let mut words = error.to_string();
        let mut next = error.source();
        while let Some(error) = next {
            let _ = write!(words, ": {error}");
            next = error.source();
        }
        Self::unavailable(action, words)
    }
}

fn add(cause: &mut String, words: &str) {
    if !words.is_empty() {
        // Writing to a string cannot fail.
        let _ = write!(cause, "; {words}");
    }
}

fn find(fits: impl Fn(Sign) -> bool) -> Option<&'static Row> {
    TABLE.into_iter().flatten().find(|row| fits(row.sign))
}

/// The status that stands for it in the table.
fn class(status: u16) -> u16 {
    match status {
        ..300 => 200,
        500.. => 500,
        _ => status,
    }
}

/// A server's words, shortened, and with nothing that a terminal obeys.
fn plain(words: &str) -> String {
    words.chars().take(WORDS).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// One attempt of a request that waits for its turn first. How long that takes says nothing of whoever is asked, so it
/// is not of the attempt's time; unless none of those before it is answered meanwhile.
pub async fn attempt_in_turn<T>(
    gate: &Gate,
    action: &str,
    time: Duration,
    request: impl Future<Output = Result<T, Trouble>>,
) -> Result<T, Trouble> {
    let before = gate.answers();
    let _turn = match within(limits::TURN_TIME, gate.enter()).await {
        Some(Some(turn)) => turn,
        None if gate.answers() == before => {
            let why = format_args!("no answer within {:?} to those before it", limits::TURN_TIME);
            return Err(Trouble::unavailable(action, why));
        }
        Some(None) | None => return Err(Trouble::crowded(action)),
    };
    let result = attempt(action, time, request).await;
    if result.as_ref().err().is_none_or(|trouble| trouble.kind != Kind::Unavailable) {
        gate.answered();
    }
    result
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
    use crate::{failure::Failure, keys::KeyError, store::StoreError};

    #[test]
    fn each_sign_has_one_meaning() {
        let rows: Vec<_> = TABLE.into_iter().flatten().collect();
        for (at, row) in rows.iter().enumerate() {
            assert!(rows[..at].iter().all(|other| other.sign != row.sign), "{:?}", row.sign);
        }
    }

    #[test]
    fn answers_are_judged_by_code_and_else_by_status() {
        let kind = |status, code| Trouble::answered("x", status, Some(code), None).kind;
        assert_eq!(kind(404, "NoSuchKey"), Kind::Absent);
        assert_eq!(kind(404, "NoSuchBucket"), Kind::Refused);
        assert_eq!(kind(403, "AccessDenied"), Kind::Refused);
        assert_eq!(kind(409, "ConditionalRequestConflict"), Kind::Again);
        assert_eq!(kind(412, "PreconditionFailed"), Kind::Precondition);
        assert_eq!(kind(400, "DisabledException"), Kind::Refused);
        assert_eq!(kind(400, "ThrottlingException"), Kind::Throttled);
        assert_eq!(kind(503, "SlowDown"), Kind::Throttled);
        for (status, expected) in [
            // Some server's 404 does not say that an object is not there.
            (404, Kind::Refused),
            (200, Kind::Unsupported),
            (307, Kind::Refused),
            (400, Kind::Refused),
            (403, Kind::Refused),
            (412, Kind::Precondition),
            (409, Kind::Again),
            (429, Kind::Throttled),
            (500, Kind::Unavailable),
            (503, Kind::Unavailable),
        ] {
            assert_eq!(kind(status, "SomethingNew"), expected, "{status}");
        }
    }

    /// What each row of the table comes to, as `docs/failures.md` has it.
    fn documented(rows: &[Row], of_keys: bool) -> String {
        let yes = |yes| if yes { "yes" } else { "no" };
        rows.iter().fold(String::new(), |mut lines, Row { sign, kind, advice }| {
            let seen = match sign {
                Code(code) => format!("`{code}`"),
                Status(200) => "an answer of another form".into(),
                Status(500) => "status 500 and above".into(),
                Status(status) => format!("status {status}"),
                Words(words) => format!("“{words}”"),
            };
            let store = StoreError::from(Trouble { kind: *kind, cause: String::new() });
            let key = KeyError::from(Trouble { kind: *kind, cause: String::new() });
            let (away, again, failure) = if of_keys {
                (key.is_away(), key.may_pass(), Failure::from(key))
            } else {
                (store.is_away(), store.may_pass(), Failure::from(store))
            };
            let (answer, remembered) = match kind {
                Kind::Absent => ("that nothing is there".into(), "forgotten"),
                Kind::Precondition => (
                    "what is there now, or `conflict`".into(),
                    "forgotten; by a create only that there was nothing",
                ),
                _ => (format!("`{}`", failure.code.as_str()), "kept"),
            };
            let remembered = if of_keys { "" } else { &format!(" {remembered} |") };
            let (away, again) = (yes(away), yes(again));
            let _ =
                writeln!(lines, "| {seen} | {away} | {again} | {answer} |{remembered} {advice} |");
            lines
        })
    }

    #[test]
    fn the_table_is_documented_as_it_is() {
        let text = include_str!("../../../../docs/failures.md");
        let tables = TABLE.into_iter().zip([false, false, true, false]);
        let tables: Vec<_> = tables.map(|(rows, of_keys)| documented(rows, of_keys)).collect();
        for table in &tables {
            assert!(text.contains(table), "docs/failures.md is to have:\n{}", tables.join("\n"));
        }
        let lines = text.lines().filter(|line| line.starts_with("| ")).count();
        // Each table has a head of two lines.
        let rows: usize = tables.iter().map(|table| table.lines().count() + 2).sum();
        assert_eq!(lines, rows, "a row that is not in the code");
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

    #[tokio::test(start_paused = true)]
    async fn a_turn_is_waited_for_for_a_while_and_that_is_not_of_the_attempts_time() {
        let (gate, time) = (Gate::new(1, 2), Duration::from_secs(2));
        let request = async |taking: Duration| {
            tokio::time::sleep(taking).await;
            Ok(())
        };
        let ask = |taking| attempt_in_turn(&gate, "read", time, request(taking));
        let nearly = limits::TURN_TIME - Duration::from_millis(1);
        // Together they take longer than an attempt may.
        let (first, second) = tokio::join!(ask(nearly), ask(time - Duration::from_millis(1)));
        assert!(first.is_ok() && second.is_ok());
        // It has but one place.
        let (first, second, third) =
            tokio::join!(ask(nearly / 2), ask(time / 2), ask(Duration::ZERO));
        assert!(first.is_ok() && second.is_ok());
        assert_eq!(third.unwrap_err().kind, Kind::Crowded);
        let (_, second) = tokio::join!(ask(2 * time), ask(Duration::ZERO));
        assert_eq!(second.unwrap_err().kind, Kind::Unavailable);
    }
}
