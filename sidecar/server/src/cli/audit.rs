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
use crate::audit::{anchor, audit_id};

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

/// In the order in which they were written: by the times of their first lines, and those that begin in one chain by their
/// numbers in it, whatever clocks said.
fn in_order(files: Vec<PathBuf>) -> Result<Vec<PathBuf>, Stop> {
    let mut dated = Vec::new();
    for path in files {
        let first = Lines::of(&path)?.next()?.unwrap_or_default().to_vec();
        let place = Line::parse(&first).map(|line| (line.chain, line.seq));
        dated.push((time(&first).to_vec(), place, path));
    }
    dated.sort();
    let chains: BTreeSet<ChainId> =
        dated.iter().filter_map(|(_, place, _)| Some((*place)?.0)).collect();
    for chain in chains {
        let of_it = |at: &usize| dated[*at].1.is_some_and(|(its, _)| its == chain);
        let places: Vec<usize> = (0..dated.len()).filter(of_it).collect();
        let mut sorted: Vec<_> = places.iter().map(|at| dated[*at].clone()).collect();
        sorted.sort_by_key(|(_, place, _)| *place);
        for (at, file) in places.into_iter().zip(sorted) {
            dated[at] = file;
        }
    }
    Ok(dated.into_iter().map(|(_, _, path)| path).collect())
}

/// What a line says of its time.
fn time(line: &[u8]) -> &[u8] {
    const KEY: &[u8] = b"\"time\":\"";
    let at = line.windows(KEY.len()).position(|window| window == KEY);
    at.and_then(|at| line.get(at + KEY.len()..at + KEY.len() + 24)).unwrap_or_default()
}

impl Verify {
    async fn run(self) -> Outcome {
        let files = in_order(self.files)?;
        let anchors = match &self.config {
            Some(config) => anchors(config, &files).await?,
            None => Anchors::new(),
        };
        let mut verifier = Verifier::new(anchors);
        let mut count: u64 = 0;
        for path in &files {
            lines(path, |number, line| {
                count += 1;
                verifier.read(line).map_err(|broken| not_whole(path, number, broken))
            })?;
        }
        if let Some((chain, last, anchored)) = verifier.cut_off().first() {
            let words = format!(
                "chain {chain} ends with line {last}, and storage holds an anchor of its line {anchored}: its end was cut off, or is in a file that was not given"
            );
            return Err(Stop::new(FAILED, words));
        }
        let mut said = String::new();
        for (chain, read) in verifier.chains() {
            let anchored = match self.config.is_some() {
                true => format!(", {} anchors met", read.anchored),
                false => String::new(),
            };
            said += &format!(
                "chain {chain}: lines {} to {} are whole{anchored}\n",
                read.first, read.last
            );
        }
        said += &format!("{count} lines in {} files prove themselves\n", files.len());
        if self.config.is_none() {
            tell(
                "without --config, lines that were cut off at an end are not found, nor is a chain that was written anew whole\n",
            );
        }
        print(&said)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn not_whole(path: &Path, number: u64, broken: Broken) -> Stop {
    Stop::new(FAILED, format!("{}, line {number}: {broken}", path.display()))
}

/// What storage holds of the chains in some files.
async fn anchors(config: &Path, files: &[PathBuf]) -> Result<Anchors, Stop> {
    let mut chains: BTreeSet<ChainId> = BTreeSet::new();
    for path in files {
        lines(path, |_, line| {
            chains.extend(Line::parse(line).map(|line| line.chain));
            Ok(())
        })?;
    }
    let config = check::load(config)?;
    open::assert_there(&config)?;
    let store = open::opener(&config).store().await.map_err(|error| Stop::new(START, error))?;
    anchor::read(&*store, &chains)
        .await
        .map_err(|error| Stop::new(FAILED, format!("the anchors cannot be read: {error}")))
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
                if line.windows(wanted.len()).any(|window| window == wanted.as_bytes()) {
                    found.push((time(line).to_vec(), String::from_utf8_lossy(line).into_owned()));
                }
                Ok(())
            })?;
        }
        found.sort();
        for (_, line) in &found {
            print(&format!("{line}\n"))?;
        }
        Ok(if found.is_empty() { FAILED.into() } else { ExitCode::SUCCESS })
    }
}
