//! The audit trail: a record of every operation and item, in the order in which they were answered.
//!
//! The road of a record: each request has a [`Trail`], on which the vault notes what became of each item; before the
//! request is answered [`Walk::settle`] gathers them, with those of other requests of the same turn of the runtime
//! ([`pieces`]), for the [`spool`], whose thread chains them (`lunasec_core::audit`) and writes them to this machine's disk;
//! another one syncs them ([`syncs`]), and a thread for each [`sink`] takes them on. So a sink that hangs holds up nobody, and
//! loses nothing. The [`anchor`]s are heads of the chain in storage.

use std::{
    collections::VecDeque,
    fmt,
    fs::File,
    io, mem,
    os::unix::fs::FileExt,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use lunasec_api::Code;
use lunasec_core::{
    derive::{SessionTag, locator},
    ids::{Millis, Namespace},
    limits,
    policy::{Caller, Client},
    record::Kind,
    token::Token,
};

use crate::{
    access::Guest,
    config::{Assurance, Assurances},
    env::Clock,
    failure::Failure,
    telemetry::{Operation, Reason},
};

pub mod anchor;
mod left;
mod line;
mod pieces;
pub mod sink;
pub mod spool;
mod syncs;

pub use spool::{Spool, SpoolError};

/// What requests are audited with; nothing where there is no audit.
#[derive(Clone, Default)]
pub struct Audit(Option<Arc<Auditor>>);

struct Auditor {
    spool: Arc<Spool>,
    assurances: Assurances,
    clock: Arc<dyn Clock>,
}

/// The code of a request that nobody waits for any more. A write may complete all the same, and is then noted as well.
const CANCELLED: &str = "cancelled";

/// The code of whatever is asked of a canary.
const CANARY: &str = "canary";

/// What stands for a token in the trail, and in the log: it leads nowhere, and whoever has the token finds it.
pub fn audit_id(namespace: &Namespace, token: &Token) -> [u8; 32] {
    locator(token, namespace, Kind::Audit, &[]).0
}

/// So much of the end of a file of lines as has a whole one in it.
pub fn end_of(path: &Path) -> io::Result<Vec<u8>> {
    const END: u64 = 64 * 1024;
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let from = length.saturating_sub(END);
    let mut end = vec![0; usize::try_from(length - from).unwrap_or_default()];
    file.read_exact_at(&mut end, from)?;
    Ok(end)
}

/// Up to the end of the last whole line: what follows it was being written as a process was killed.
fn whole_lines(file: &File) -> io::Result<u64> {
    let mut to = file.metadata()?.len();
    let mut chunk = vec![0; limits::AUDIT_CHUNK];
    // A loss of power may leave any number of zeros.
    while to > 0 {
        let from = to.saturating_sub(chunk.len() as u64);
        let end = &mut chunk[..usize::try_from(to - from).unwrap_or_default()];
        file.read_exact_at(end, from)?;
        if let Some(at) = end.iter().rposition(|byte| *byte == b'\n') {
            return Ok(from + at as u64 + 1);
        }
        to = from;
    }
    Ok(0)
}

impl Audit {
    /// With records that go to a spool, as surely as is asked for.
    pub fn new(spool: Arc<Spool>, assurances: Assurances, clock: Arc<dyn Clock>) -> Self {
        Self(Some(Arc::new(Auditor { spool, assurances, clock })))
    }

    /// The same, with other assurances.
    pub fn renewed(&self, assurances: Assurances) -> Self {
        Self(self.0.as_ref().map(|auditor| {
            let (spool, clock) = (Arc::clone(&auditor.spool), Arc::clone(&auditor.clock));
            Arc::new(Auditor { spool, assurances, clock })
        }))
    }

    /// Begins the trail of a request. What touches no token has none.
    pub fn begin(&self, request: [u8; 16], caller: Caller, operation: Operation) -> Walk {
        let auditor = self.0.as_ref().filter(|_| is_audited(operation));
        let noting = auditor.map(|auditor| {
            Arc::new(Noting {
                auditor: Arc::clone(auditor),
                assurance: assurance(&auditor.assurances, operation),
                about: About { at: auditor.clock.now(), request, caller, operation },
                noted: Mutex::default(),
            })
        });
        Walk(Trail { request, noting })
    }
}

fn is_audited(operation: Operation) -> bool {
    !matches!(
        operation,
        Operation::Status | Operation::Health | Operation::Reflection | Operation::Unknown
    )
}

fn assurance(of: &Assurances, operation: Operation) -> Assurance {
    match operation {
        Operation::Detokenize | Operation::DetokenizeBatch => of.reveal,
        Operation::Tokenize | Operation::TokenizeBatch | Operation::CanariesCreate => of.tokenize,
        Operation::MetadataGet | Operation::MetadataSet => of.metadata,
        Operation::GrantsCreate | Operation::GrantsVerify | Operation::GrantsRevoke => of.grants,
        _ => of.delete,
    }
}

/// What is the same for all items of a request, and known as it begins.
#[derive(Clone, Copy)]
struct About {
    at: Millis,
    request: [u8; 16],
    caller: Caller,
    operation: Operation,
}

/// Who it turned out to be.
#[derive(Clone, Default)]
struct Who {
    guest: Option<Arc<Guest>>,
    namespace: Option<Namespace>,
    session: Option<SessionTag>,
    purpose: Option<Arc<str>>,
}

impl Who {
    fn client(&self) -> Option<&Client> {
        self.guest.as_deref().map(|guest| &guest.client)
    }
}

/// What became of one item, or of a request without any.
#[derive(Clone, Copy)]
struct Item {
    /// The token's audit id.
    token: Option<[u8; 32]>,
    code: &'static str,
    degraded: Option<Reason>,
}

/// Records that go to the spool together.
pub(crate) struct Records {
    about: About,
    who: Who,
    items: Vec<Item>,
}

struct Noting {
    auditor: Arc<Auditor>,
    assurance: Assurance,
    about: About,
    noted: Mutex<Noted>,
}

#[derive(Default)]
struct Noted {
    who: Who,
    items: Vec<Item>,
    /// What was asked for and is not noted yet, in order: the token's audit id, or that there is none.
    asked: VecDeque<Option<[u8; 32]>>,
    /// Audit ids of the canaries among them.
    canaries: Vec<[u8; 32]>,
    /// Whether it was answered, or given up: what is noted from then on goes to the spool at once.
    over: bool,
}

/// Where the vault notes what it does for a request.
#[derive(Clone, Default)]
pub struct Trail {
    /// The request's id, in hexadecimal digits.
    request: [u8; 16],
    noting: Option<Arc<Noting>>,
}

impl fmt::Debug for Trail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Trail")
    }
}

impl Trail {
    /// The id of the request, as its answer says it.
    pub fn request(&self) -> &str {
        str::from_utf8(&self.request).unwrap_or_default()
    }

    /// Whether anything is noted: what only a record needs is not worth making else.
    pub fn is_on(&self) -> bool {
        self.noting.is_some()
    }

    /// Notes who asks.
    pub fn admitted(&self, guest: &Arc<Guest>, namespace: &Namespace, purpose: Option<&str>) {
        if let Some(mut noted) = self.noted() {
            noted.who.guest = Some(Arc::clone(guest));
            noted.who.namespace = Some(namespace.clone());
            noted.who.purpose = purpose.map(Into::into);
        }
    }

    /// Notes who is not let in, as far as that is known.
    pub fn refused(&self, guest: Option<&Arc<Guest>>, namespace: Option<&Namespace>) {
        if let Some(mut noted) = self.noted() {
            noted.who.guest = guest.map(Arc::clone);
            noted.who.namespace = namespace.cloned();
        }
    }

    /// Notes what is asked for, item by item. Each is noted in that order; those that are not by the end of the request leave
    /// a record of how that ended.
    pub fn asked<'a>(
        &self,
        namespace: &Namespace,
        tokens: impl IntoIterator<Item = Option<&'a Token>>,
    ) {
        if let Some(mut noted) = self.noted() {
            let ids = tokens.into_iter().map(|token| token.map(|it| audit_id(namespace, it)));
            noted.asked.extend(ids);
        }
    }

    /// Notes whose session it is about.
    pub fn about(&self, session: SessionTag) {
        if let Some(mut noted) = self.noted() {
            noted.who.session = Some(session);
        }
    }

    /// Notes what became of a token.
    pub fn note(
        &self,
        namespace: &Namespace,
        token: Option<&Token>,
        code: Option<Code>,
        degraded: Option<Reason>,
    ) {
        self.note_as(namespace, token, code.map_or("ok", Code::as_str), degraded);
    }

    /// The same in words of the record's own.
    pub fn note_as(
        &self,
        namespace: &Namespace,
        token: Option<&Token>,
        code: &'static str,
        degraded: Option<Reason>,
    ) {
        let Some(noting) = &self.noting else { return };
        let mut noted = noting.noted();
        let asked = noted.asked.pop_front();
        let token = asked.unwrap_or_else(|| token.map(|token| audit_id(namespace, token)));
        let is_canary = token.is_some_and(|token| noted.canaries.contains(&token));
        let code = if is_canary { CANARY } else { code };
        let item = Item { token, code, degraded };
        noted.items.push(item);
        if noted.over {
            let records = noting.take(&mut noted);
            drop(noted);
            noting.auditor.spool.submit(records);
        }
    }

    /// Notes that a token is a canary: its record says so, whatever it is answered.
    pub fn canary(&self, namespace: &Namespace, token: &Token) {
        if let Some(mut noted) = self.noted() {
            noted.canaries.push(audit_id(namespace, token));
        }
    }

    fn noted(&self) -> Option<MutexGuard<'_, Noted>> {
        self.noting.as_ref().map(|noting| noting.noted())
    }
}

impl Noting {
    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, noted: &mut Noted) -> Records {
        let items = mem::take(&mut noted.items);
        Records { about: self.about, who: noted.who.clone(), items }
    }

    /// Ends it: what was noted, and of what was not, or where nothing was asked for, how it ended.
    fn end(&self, code: &'static str) -> Option<Records> {
        let mut noted = self.noted();
        if mem::replace(&mut noted.over, true) {
            return None;
        }
        let mut left = mem::take(&mut noted.asked);
        if noted.items.is_empty() && left.is_empty() {
            left.push_back(None);
        }
        let canaries = mem::take(&mut noted.canaries);
        noted.items.extend(left.into_iter().map(|token| {
            let is_canary = token.is_some_and(|token| canaries.contains(&token));
            Item { token, code: if is_canary { CANARY } else { code }, degraded: None }
        }));
        noted.canaries = canaries;
        Some(self.take(&mut noted))
    }
}

/// A request on its way, which leaves a record however it ends.
pub struct Walk(Trail);

impl Walk {
    /// For the vault.
    pub fn trail(&self) -> &Trail {
        &self.0
    }

    /// Refuses what could not be recorded as surely as is asked for, before anything is done.
    pub fn may_begin(&self) -> Result<(), Failure> {
        let Some(noting) = &self.0.noting else { return Ok(()) };
        match (noting.assurance, noting.auditor.spool.trouble()) {
            (Assurance::Required | Assurance::Durable, Some(trouble)) => {
                // Nothing was done, and there is nowhere to say so.
                noting.noted().over = true;
                Err(unrecorded(&trouble))
            }
            _ => Ok(()),
        }
    }

    /// What the request is answered, once its records are where they have to be before that.
    pub async fn settle<T>(self, result: Result<T, Failure>) -> Result<T, Failure> {
        let Some(noting) = &self.0.noting else { return result };
        let code = result.as_ref().map_or_else(|failure| failure.code.as_str(), |_| "ok");
        let Some(records) = noting.end(code) else { return result };
        let spool = &noting.auditor.spool;
        let synced = match noting.assurance {
            Assurance::BestEffort => {
                spool.submit(records);
                return result;
            }
            Assurance::Required => false,
            Assurance::Durable => true,
        };
        match spool.written(records, synced).await {
            Ok(()) => result,
            Err(trouble) => Err(unrecorded(&trouble)),
        }
    }
}

impl Drop for Walk {
    fn drop(&mut self) {
        if let Some(noting) = &self.0.noting
            && let Some(records) = noting.end(CANCELLED)
        {
            noting.auditor.spool.submit(records);
        }
    }
}

fn unrecorded(cause: &str) -> Failure {
    Failure::caused(
        Code::StorageUnavailable,
        "this cannot be recorded in the audit trail, so it is not answered; try again later",
        cause,
    )
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{env::SystemClock, telemetry::Telemetry};

    /// A spool in a directory, and what is audited with it.
    fn audit(directory: &Path) -> (Arc<Spool>, Audit) {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        let dependency = Telemetry::new(Arc::clone(&clock)).dependency("audit");
        let instance = "here".into();
        let settings =
            spool::Settings { directory: directory.to_owned(), bytes: 1 << 20, instance };
        let chain = lunasec_core::audit::ChainId([7; 16]);
        let spool = Spool::open(settings, chain, Arc::clone(&clock), dependency).unwrap();
        let audit = Audit::new(Arc::clone(&spool), Assurances::default(), clock);
        (spool, audit)
    }

    fn walk(audit: &Audit) -> Walk {
        let caller = Caller { uid: 1, gid: 2, pid: None };
        audit.begin(*b"0123456789abcdef", caller, Operation::DetokenizeBatch)
    }

    /// The token and the code of each record that is written.
    fn records(directory: &Path) -> Vec<(Option<String>, String)> {
        let mut files: Vec<_> =
            fs::read_dir(directory).unwrap().map(|it| it.unwrap().path()).collect();
        files.sort();
        let text: String = files.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
        let member = |line: &str, name: &str| {
            let rest = line.split_once(&format!("\"{name}\":\""))?.1;
            rest.split('"').next().map(str::to_owned)
        };
        let lines = text.lines().filter(|line| line.contains("\"op\""));
        lines.map(|line| (member(line, "token"), member(line, "code").unwrap())).collect()
    }

    #[tokio::test]
    async fn what_was_asked_for_and_not_come_to_has_a_record_of_how_its_request_ended() {
        let directory = tempfile::tempdir().unwrap();
        let (spool, audit) = audit(directory.path());
        let namespace = Namespace::default();
        let tokens = [1u8, 2, 3].map(|at| Token::from_random([at; 16]));
        let ids =
            tokens.each_ref().map(|it| Some(lunasec_core::audit::hex(&audit_id(&namespace, it))));
        let asked = || [Some(&tokens[0]), None, Some(&tokens[1]), Some(&tokens[2])];
        // A deadline behind the second item.
        let late = walk(&audit);
        late.trail().asked(&namespace, asked());
        late.trail().note(&namespace, Some(&tokens[0]), None, None);
        late.trail().note(&namespace, None, Some(Code::InvalidToken), None);
        let failure = Failure::new(Code::DeadlineExceeded, "late");
        assert!(late.settle(Err::<(), _>(failure)).await.is_err());
        // A client that goes before the first; then a write that runs to its end all the same.
        let gone = walk(&audit);
        let trail = gone.trail().clone();
        trail.asked(&namespace, [Some(&tokens[2])]);
        drop(gone);
        trail.note(&namespace, Some(&tokens[2]), None, None);
        // A canary is one, whoever takes his question back.
        let thief = walk(&audit);
        thief.trail().asked(&namespace, [Some(&tokens[0])]);
        thief.trail().canary(&namespace, &tokens[0]);
        drop(thief);
        // One that names no token.
        let bare = walk(&audit);
        assert!(bare.settle(Ok(())).await.is_ok());
        tokio::task::spawn_blocking(move || spool.end()).await.unwrap();
        let [one, two, three] = ids;
        let expected = [
            (one.clone(), "ok"),
            (None, "invalid_token"),
            (two, "deadline_exceeded"),
            (three.clone(), "deadline_exceeded"),
            (three.clone(), "cancelled"),
            (three, "ok"),
            (one, "canary"),
            (None, "ok"),
        ];
        assert_eq!(records(directory.path()), expected.map(|(id, code)| (id, code.to_owned())));
    }
}
