//! `lunasec audit`: what the files of audit trails prove, and what became of one token.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
    process::ExitCode,
};

use lunasec_core::{
    audit::{Anchors, Broken, ChainId, Line, Verifier, hex},
    ids::Namespace,
    token::Token,
};

use super::{FAILED, Outcome, START, Stop, USAGE, check, open, print, tell};
use crate::audit::{anchor, audit_id, end_of};

/// Arguments of `lunasec audit`.
#[derive(clap::Args)]
pub(super) struct Audit {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Prove that files of audit trails are whole and unchanged, or name the first line that is not
    Verify(Verify),
    /// Print the lines about one token, which is read from standard input
    Find(Find),
}

#[derive(clap::Args)]
struct Verify {
    /// Compare with the anchors in the storage of this configuration; without it, what was cut off or written anew whole is
    /// not found
    #[arg(long)]
    config: Option<PathBuf>,
    /// Demand all of it: every chain that storage has anchors of, each from its first line
    #[arg(long, requires = "config")]
    complete: bool,
    /// Take chains of which storage has no anchor: their sidecars had no storage from their first record to their end
    #[arg(long, requires = "config")]
    allow_unanchored: bool,
    /// Files of any sidecars, in any order
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

#[derive(clap::Args)]
struct Find {
    /// The token's namespace
    #[arg(long, default_value = Namespace::DEFAULT)]
    namespace: String,
    /// Files of any sidecars, in any order
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

impl Audit {
    pub(super) async fn run(self) -> Outcome {
        match self.command {
            Command::Verify(command) => command.run().await,
            Command::Find(command) => command.run(),
        }
    }
}

/// A file that is read line by line.
struct Lines<'a> {
    path: &'a Path,
    file: BufReader<File>,
    line: Vec<u8>,
}

impl<'a> Lines<'a> {
    fn of(path: &'a Path) -> Result<Self, Stop> {
        let file = File::open(path).map_err(|error| unreadable(path, &error))?;
        Ok(Self { path, file: BufReader::with_capacity(1 << 20, file), line: Vec::new() })
    }

    /// The next one, without its end.
    fn next(&mut self) -> Result<Option<&[u8]>, Stop> {
        self.line.clear();
        let read = self.file.read_until(b'\n', &mut self.line);
        if read.map_err(|error| unreadable(self.path, &error))? == 0 {
            return Ok(None);
        }
        Ok(Some(self.line.strip_suffix(b"\n").unwrap_or(&self.line)))
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Stop {
    Stop::new(FAILED, format!("{}: {error}", path.display()))
}

/// All lines of a file, with their numbers.
fn lines(path: &Path, mut each: impl FnMut(u64, &[u8]) -> Result<(), Stop>) -> Result<(), Stop> {
    let (mut lines, mut number) = (Lines::of(path)?, 0);
    while let Some(line) = lines.next()? {
        number += 1;
        each(number, line)?;
    }
    Ok(())
}

/// A file, and the lines at its ends.
struct Span {
    /// What its first line says of its time.
    time: Vec<u8>,
    first: Option<(ChainId, u64)>,
    last: Option<(ChainId, u64)>,
    path: PathBuf,
}

impl Span {
    fn of(path: PathBuf) -> Result<Self, Stop> {
        let first = Lines::of(&path)?.next()?.unwrap_or_default().to_vec();
        let end = end_of(&path).map_err(|error| unreadable(&path, &error))?;
        Ok(Self {
            time: time(&first).to_vec(),
            first: Line::parse(&first).map(place),
            last: Line::last_of(&end).map(place),
            path,
        })
    }

    /// Whether it goes on where that one ends.
    fn follows(&self, before: &Self) -> bool {
        let next = before.last.map(|(chain, seq)| (chain, seq + 1));
        next.is_some() && self.first == next
    }
}

fn place(line: Line<'_>) -> (ChainId, u64) {
    (line.chain, line.seq)
}

/// The chains of which files have lines.
fn chains_in(files: &[PathBuf]) -> Result<BTreeSet<ChainId>, Stop> {
    let (mut chains, mut last) = (BTreeSet::new(), None);
    for path in files {
        lines(path, |_, line| {
            // Most lines are of the chain of the one before.
            let chain = Line::parse(line).map(|line| line.chain);
            if let Some(chain) = chain.filter(|chain| last != Some(*chain)) {
                chains.insert(chain);
                last = Some(chain);
            }
            Ok(())
        })?;
    }
    Ok(chains)
}

/// In the order in which they were written: each behind the one that it goes on from, whatever clocks said; and those that go
/// on from none by the times of their first lines.
fn in_order(mut spans: Vec<Span>) -> Vec<PathBuf> {
    spans.sort_by(|one, other| (&one.time, one.first).cmp(&(&other.time, other.first)));
    let mut ordered: Vec<Span> = Vec::with_capacity(spans.len());
    while !spans.is_empty() {
        let next = ordered.last().and_then(|last| spans.iter().position(|it| it.follows(last)));
        let begins = |at: &usize| !spans.iter().any(|other| spans[*at].follows(other));
        let at = next.or_else(|| (0..spans.len()).find(begins)).unwrap_or(0);
        ordered.push(spans.remove(at));
    }
    ordered.into_iter().map(|span| span.path).collect()
}

/// What a line says of its time.
fn time(line: &[u8]) -> &[u8] {
    const KEY: &[u8] = b"\"time\":\"";
    let at = line.windows(KEY.len()).position(|window| window == KEY);
    at.and_then(|at| line.get(at + KEY.len()..at + KEY.len() + 24)).unwrap_or_default()
}

impl Verify {
    async fn run(self) -> Outcome {
        let spans = self.files.iter().map(|path| Span::of(path.clone()));
        let files = in_order(spans.collect::<Result<_, _>>()?);
        let anchors = match &self.config {
            Some(config) => anchors(config, &chains_in(&files)?).await?,
            None => Anchors::new(),
        };
        let mut verifier = Verifier::new(anchors);
        let count = read_all(&files, &mut verifier)?;
        if count == 0 {
            return Err(Stop::new(FAILED, "these files hold no line of an audit trail"));
        }
        match self.config {
            Some(_) => self.compare(&verifier)?,
            None => tell(
                "without --config, lines that were cut off at an end are not found, nor is what was written anew whole\n",
            ),
        }
        let (said, files) = (self.describe(&verifier), files.len());
        print(&format!("{said}{count} lines in {files} files prove themselves\n"))?;
        Ok(ExitCode::SUCCESS)
    }

    /// What the anchors say that the lines do not.
    fn compare(&self, verifier: &Verifier) -> Result<(), Stop> {
        let stop = |words: String| Err(Stop::new(FAILED, words));
        if let Some((chain, last, anchored)) = verifier.cut_off().first() {
            return stop(format!(
                "chain {chain} ends with line {last}, and storage holds an anchor of its line {anchored}: its end was cut off, or is in a file that was not given"
            ));
        }
        if let Some(chain) = verifier.unanchored().first().filter(|_| !self.allow_unanchored) {
            return stop(format!(
                "storage vouches for no line of chain {chain}: it was written anew, or its sidecar had no storage from its first record on, or the files with its other lines were not given; --allow-unanchored takes it"
            ));
        }
        if !self.complete {
            return Ok(());
        }
        if let Some(chain) = verifier.absent().first() {
            return stop(format!(
                "storage holds anchors of chain {chain}, and no file has a line of it (of {} chains)",
                verifier.absent().len()
            ));
        }
        match verifier.chains().iter().find(|(_, read)| read.first > 0) {
            Some((chain, read)) => stop(format!(
                "chain {chain} begins with line {}: the lines before are in no file",
                read.first
            )),
            None => Ok(()),
        }
    }

    fn describe(&self, verifier: &Verifier) -> String {
        let mut said = String::new();
        for (chain, read) in verifier.chains() {
            let anchored = match self.config.is_some() {
                true => format!(", {} anchors met", read.anchored),
                false => String::new(),
            };
            let (first, last) = (read.first, read.last);
            said += &format!("chain {chain}: lines {first} to {last} are whole{anchored}\n");
            if let Some(again) = read.again {
                said += &format!(
                    "chain {chain}: lines came again up to {again} of {last} and end there: a kill, or somebody put them in\n"
                );
            }
            if first > 0 {
                said += &format!("chain {chain}: the lines before {first} are in no file\n");
            }
        }
        match verifier.absent().len() {
            0 => {}
            absent => {
                said += &format!(
                    "of {absent} more chains that storage has anchors of, no file has a line\n"
                );
            }
        }
        said
    }
}

/// Reads all lines, and says how many there are.
fn read_all(files: &[PathBuf], verifier: &mut Verifier) -> Result<u64, Stop> {
    let (mut torn, mut count) = (Torn::default(), 0);
    for path in files {
        lines(path, |number, line| {
            // A sink begins a line of its own after a kill.
            if line.is_empty() {
                return Ok(());
            }
            torn.goes_on_with(line);
            match verifier.read(line) {
                Err(Broken::Form) if torn.takes(line) => torn.keep(path, number, line),
                read => {
                    count += 1;
                    // What is no line and did not come again is the first that is broken.
                    read.map_err(|broken| {
                        torn.first().unwrap_or_else(|| not_whole(path, number, broken))
                    })?;
                }
            }
            Ok(())
        })?;
        torn.end(path)?;
    }
    torn.first().map_or(Ok(count), Err)
}

/// Pieces of lines that a process left that was killed as it wrote: the end of a file, or a line that comes again whole, for a
/// sink goes back to where it is sure of.
#[derive(Default)]
struct Torn {
    pieces: Vec<(PathBuf, u64, Vec<u8>)>,
}

impl Torn {
    /// Each kill leaves one.
    fn takes(&self, line: &[u8]) -> bool {
        const KILLS: usize = 1_000;
        Line::is_begun(line) && self.pieces.len() < KILLS
    }

    fn keep(&mut self, path: &Path, number: u64, line: &[u8]) {
        if !self.pieces.iter().any(|(_, _, piece)| piece == line) {
            self.pieces.push((path.to_owned(), number, line.to_vec()));
        }
    }

    fn goes_on_with(&mut self, line: &[u8]) {
        self.pieces.retain(|(_, _, piece)| line == piece || !line.starts_with(piece));
    }

    /// A piece at the end of a file does not have to come again: its process may not have come back.
    fn end(&mut self, path: &Path) -> Result<(), Stop> {
        let Some((of, _, piece)) = self.pieces.last() else { return Ok(()) };
        let end = end_of(path).map_err(|error| unreadable(path, &error))?;
        if of == path && !piece.is_empty() && end.ends_with(piece) {
            tell(&format!(
                "{} ends in the middle of a line, as a process leaves it that is killed\n",
                path.display()
            ));
            self.pieces.pop();
        }
        Ok(())
    }

    fn first(&self) -> Option<Stop> {
        let (path, number, _) = self.pieces.first()?;
        Some(not_whole(path, *number, Broken::Form))
    }
}

fn not_whole(path: &Path, number: u64, broken: Broken) -> Stop {
    Stop::new(FAILED, format!("{}, line {number}: {broken}", path.display()))
}

/// What storage holds of these chains.
async fn anchors(config: &Path, chains: &BTreeSet<ChainId>) -> Result<Anchors, Stop> {
    let config = check::load(config)?;
    open::assert_there(&config)?;
    let store = open::opener(&config).store().await.map_err(|error| Stop::new(START, error))?;
    anchor::read(&*store, chains)
        .await
        .map_err(|error| Stop::new(FAILED, format!("the anchors do not count: {error}")))
}

impl Find {
    fn run(self) -> Outcome {
        let namespace = Namespace::parse(&self.namespace)
            .map_err(|error| Stop::new(USAGE, format!("--namespace: {error}")))?;
        let mut text = String::new();
        io::stdin().read_line(&mut text).map_err(|error| Stop::new(FAILED, error))?;
        let token = Token::parse(text.trim())
            .map_err(|error| Stop::new(USAGE, format!("standard input: {error}")))?;
        let id = hex(&audit_id(&namespace, &token));
        let wanted = format!(",\"token\":\"{id}\"");
        let mut found = Vec::new();
        for path in &self.files {
            lines(path, |_, line| {
                let is_about = |window: &[u8]| window == wanted.as_bytes();
                // Half of one proves nothing.
                if line.windows(wanted.len()).any(is_about) && Line::parse(line).is_some() {
                    found.push((time(line).to_vec(), String::from_utf8_lossy(line).into_owned()));
                }
                Ok(())
            })?;
        }
        found.sort();
        // A sink that was cut off has some twice.
        found.dedup();
        for (_, line) in &found {
            print(&format!("{line}\n"))?;
        }
        Ok(if found.is_empty() { FAILED.into() } else { ExitCode::SUCCESS })
    }
}
