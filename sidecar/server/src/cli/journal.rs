//! `lunasec journal`: what waits in the journal of a stopped sidecar, and what is taken out of it.

use std::{
    collections::BTreeSet,
    fs::File,
    path::{Path, PathBuf},
    process::ExitCode,
};

use lunasec_core::limits;

use super::{FAILED, Outcome, START, Stop, USAGE, check, print};
use crate::{
    app::{StartError, lock},
    db::DbError,
    env::{Clock, SystemClock},
    journal::{
        ASIDE_FILE, DiskLedger, Entry, JOURNAL_FILE, Ledger, NotSetAside, choose, set_aside,
    },
};

/// Arguments of `lunasec journal`.
#[derive(clap::Args)]
pub(super) struct Journal {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// List what waits: its number, age, kind, size and object. No token is among it
    List(ConfigArgument),
    /// Take entries out that storage refuses for ever, into a file beside the journal, and say what is lost thereby
    SetAside(SetAside),
}

/// Which journal.
#[derive(clap::Args)]
struct ConfigArgument {
    /// The configuration of the sidecar, which must not be running
    #[arg(long, default_value = "lunasec.toml")]
    config: PathBuf,
}

#[derive(clap::Args)]
struct SetAside {
    #[command(flatten)]
    at: ConfigArgument,
    /// Numbers of entries, as `lunasec journal list`, `lunasec status` and the log have them
    #[arg(required = true)]
    numbers: Vec<u64>,
    /// Say what would be lost, and change nothing
    #[arg(long)]
    dry_run: bool,
}

impl Journal {
    pub(super) async fn run(self) -> Outcome {
        match self.command {
            Command::List(at) => list(&at.directory()?).await,
            Command::SetAside(command) => command.run().await,
        }
    }
}

impl ConfigArgument {
    fn directory(&self) -> Result<PathBuf, Stop> {
        check::load(&self.config)?.degrade.state_dir.ok_or_else(|| {
            Stop::new(USAGE, "this configuration has no degrade.state_dir, so there is no journal")
        })
    }
}

/// Opens a journal that is there, and keeps its directory for as long as the second lives.
fn open(directory: &Path) -> Result<(DiskLedger, Option<File>), Stop> {
    let path = directory.join(JOURNAL_FILE);
    if !path.exists() {
        return Err(Stop::new(START, format!("there is no journal at {}", path.display())));
    }
    let in_use = |file: String| {
        Stop::new(
            START,
            format!(
                "{file} is in use by a running sidecar; stop that one first. What it cannot replay is in `lunasec status` meanwhile"
            ),
        )
    };
    let locked = lock(directory).map_err(|error| match error {
        StartError::Db(DbError::InUse(file)) => in_use(file),
        error => Stop::new(START, error),
    })?;
    let ledger = DiskLedger::open(&path).map_err(|error| match error {
        DbError::InUse(file) => in_use(file),
        error => Stop::new(START, error),
    })?;
    Ok((ledger, locked))
}

async fn list(directory: &Path) -> Outcome {
    let ((ledger, _locked), now) = (open(directory)?, SystemClock::default().now());
    let (mut after, mut count) = (0, 0);
    loop {
        let page = ledger.page(after, limits::REPLAY_PAGE, limits::REPLAY_PAGE_BYTES).await;
        let page = page.map_err(|error| Stop::new(START, error))?;
        let Some(last) = page.last() else { break };
        (after, count) = (last.number, count + page.len());
        print(&page.iter().map(|entry| line(entry, now)).collect::<String>())?;
    }
    print(&format!("{count} entries wait\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// Its name is the object's in the bucket: a digest of the token, and not the token.
fn line(entry: &Entry, now: u64) -> String {
    let age = now.saturating_sub(entry.at) / 1_000;
    let (number, kind, bytes) = (entry.number, entry.kind(), entry.bytes.len());
    format!("{number:>8}  {age:>8} s  {kind:<20}  {bytes:>8} B  {:?}\n", entry.name)
}

impl SetAside {
    async fn run(self) -> Outcome {
        let directory = self.at.directory()?;
        let (ledger, _locked) = open(&directory)?;
        let numbers: BTreeSet<u64> = self.numbers.iter().copied().collect();
        let entries = choose(&ledger, &numbers).await.map_err(|error| match error {
            NotSetAside::Db(error) => Stop::new(START, error),
            error => Stop::new(USAGE, error),
        })?;
        let lost: String = entries.iter().map(lost).collect();
        if self.dry_run {
            print(&format!("{lost}nothing was changed\n"))?;
            return Ok(ExitCode::SUCCESS);
        }
        let (count, aside) = (entries.len(), directory.join(ASIDE_FILE));
        let to = DiskLedger::open(&aside).map_err(|error| Stop::new(START, error))?;
        let moved = set_aside(&ledger, &to, entries).await;
        moved.map_err(|error| Stop::new(FAILED, error))?;
        print(&format!(
            "{lost}set {count} aside, sealed, in {}. It is a journal of its own: in the place of {JOURNAL_FILE}, where that is empty, a sidecar replays it\n",
            aside.display()
        ))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// What an entry that is not replayed means.
fn lost(entry: &Entry) -> String {
    let means = match entry.kind() {
        "value" => "its token, which was given out, is `not_found`",
        "metadata" => "metadata that was acknowledged is not set",
        "grant" => "a grant that was acknowledged is not made",
        "value's tombstone" | "metadata's tombstone" => "what was deleted is there again",
        "grant's tombstone" => "a grant that was taken back counts again",
        "session" => {
            "grants of a session do not count, or count again although they were taken back"
        }
        _ => "what this version cannot read is not written",
    };
    format!("{}, a {}: {means}\n", entry.number, entry.kind())
}
