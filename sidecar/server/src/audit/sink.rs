//! Where records go in the end: a file, or standard output. A thread for each takes them out of the spool, in order and whole
//! segments' worth of lines; how far it has come outlives a restart. So after a kill a file has each line once, and standard
//! output may have the last ones twice, which `lunasec audit verify` knows.

use std::{
    cmp::Ordering,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use lunasec_core::{audit::Line, limits};
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
};

use super::{spool::Spool, whole_lines};
use crate::{
    env::Clock,
    files,
    http::rfc3339,
    seldom::Seldom,
    telemetry::{Dependency, Request, UNAVAILABLE},
};

const CHUNK: usize = limits::AUDIT_CHUNK;

/// A sink's kind.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// A file, which is put aside and begun anew once it has so many bytes.
    File {
        /// Where.
        path: PathBuf,
        /// How many.
        rotate: u64,
    },
    /// Standard output.
    Stdout,
}

impl Target {
    /// As a dependency.
    pub fn dependency(&self) -> &'static str {
        match self {
            Self::File { .. } => "audit_file",
            Self::Stdout => "audit_stdout",
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::File { .. } => "file",
            Self::Stdout => "stdout",
        }
    }
}

/// How far a sink has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Cursor {
    segment: u64,
    offset: u64,
}

struct Sink {
    spool: Arc<Spool>,
    clock: Arc<dyn Clock>,
    /// Its number at the spool.
    number: usize,
    target: Target,
    cursor: Cursor,
    out: Option<Out>,
    told: Seldom,
    dependency: Arc<Dependency>,
    /// Whether the last attempt failed.
    troubled: bool,
    /// Since when more was taken on than is known to be safe.
    unstored: Option<Duration>,
    /// How many bytes.
    unstored_bytes: u64,
    /// Whether standard output may end in the middle of a line.
    torn: bool,
}

enum Out {
    File(File),
    Stdout,
}

/// Takes records on to a target from now on, until the spool has ended and all of it is there. `number` is that of
/// [`Spool::join`].
pub fn start(
    spool: &Arc<Spool>,
    number: usize,
    target: Target,
    clock: &Arc<dyn Clock>,
    dependency: Arc<Dependency>,
) -> io::Result<JoinHandle<()>> {
    let (spool, clock) = (Arc::clone(spool), Arc::clone(clock));
    let mut sink = Sink {
        cursor: Cursor { segment: 0, offset: 0 },
        told: Seldom::new(Arc::clone(&clock)),
        dependency,
        troubled: false,
        spool,
        clock,
        number,
        target,
        out: None,
        unstored: None,
        unstored_bytes: 0,
        torn: false,
    };
    sink.cursor = sink.stored().unwrap_or_else(|| sink.beginning());
    sink.torn = sink.spool.has_left(sink.cursor.segment, sink.cursor.offset);
    let name = format!("audit-{}", sink.target.name());
    std::thread::Builder::new().name(name).spawn(move || sink.run())
}

impl Sink {
    fn run(mut self) {
        loop {
            let Cursor { segment, offset } = self.cursor;
            let tail = self.spool.wait(segment, offset, limits::AUDIT_SINK_PAUSE);
            let end = match segment.cmp(&tail.segment) {
                Ordering::Less => None,
                Ordering::Equal => Some(tail.length),
                // Nothing of it is synced.
                Ordering::Greater => Some(0),
            };
            let is_last = end.is_some();
            let taken = self.take_on(end).and_then(|more| {
                self.store_if_due(tail.ended && !more)?;
                Ok(more)
            });
            self.tell(&taken);
            match taken {
                // Much at once costs little more than little.
                Ok(true) if is_last && !tail.ended => std::thread::sleep(limits::AUDIT_SINK_REST),
                Ok(true) => {}
                Ok(false) if tail.ended => break,
                Ok(false) => {}
                Err(error) => {
                    if self.told.admit().is_some() {
                        let sink = self.target.name();
                        tracing::error!(sink, %error, "the audit trail's sink takes nothing; what waits is in the spool");
                    }
                    self.go_back(&error);
                    if tail.ended {
                        break;
                    }
                    std::thread::sleep(limits::AUDIT_SINK_PAUSE);
                }
            }
        }
    }

    /// To where it goes on after an error.
    fn go_back(&mut self, error: &io::Error) {
        self.out = None;
        // What standard output took it has, and `put` knows how much that is: without that, one that takes little at once
        // would be given the same for ever. Of whoever has gone nobody knows what he has read.
        if self.target == Target::Stdout && error.kind() != io::ErrorKind::BrokenPipe {
            return;
        }
        // How much of what it took is safe nobody knows: it goes on behind what is.
        self.torn = true;
        self.cursor = self.stored().unwrap_or_else(|| self.beginning());
    }

    /// Says how it is where that has changed, or goes on to be wrong.
    fn tell(&mut self, taken: &io::Result<bool>) {
        let asked = || self.dependency.begin(Request::write("sink"));
        match taken {
            Err(error) => asked().failed(UNAVAILABLE, &error.to_string()),
            Ok(_) if self.troubled => asked().answered("ok"),
            Ok(_) => {}
        }
        self.troubled = taken.is_err();
    }

    /// Takes on what there is of one segment, up to `end` where it is still written: whether there may be more.
    fn take_on(&mut self, end: Option<u64>) -> io::Result<bool> {
        self.open()?;
        let path = self.spool.path(self.cursor.segment);
        let segment = match File::open(&path) {
            // Removed by hand, or a number that was left out.
            Err(error) if error.kind() == io::ErrorKind::NotFound && end.is_none() => {
                return self.next_segment();
            }
            segment => segment?,
        };
        let end = end.map_or_else(|| whole_lines(&segment), Ok)?;
        let (begun, mut chunk) = (self.cursor.offset, vec![0; CHUNK]);
        while self.cursor.offset < end {
            let left = usize::try_from(end - self.cursor.offset).unwrap_or(CHUNK).min(CHUNK);
            let read = segment.read_at(&mut chunk[..left], self.cursor.offset)?;
            if read == 0 {
                break;
            }
            // Whole lines, so that what goes on behind an error begins one.
            let lines =
                chunk[..read].iter().rposition(|byte| *byte == b'\n').map_or(read, |at| at + 1);
            self.put(&chunk[..lines])?;
            if self.cursor.offset < end {
                // Where there is one core, requests need not wait for all of it.
                std::thread::yield_now();
            }
        }
        if self.cursor.offset > begun {
            self.unstored.get_or_insert_with(|| self.clock.monotonic());
            return Ok(true);
        }
        match self.spool.tail().segment > self.cursor.segment {
            // Another one is written by now.
            true => self.next_segment(),
            false => Ok(false),
        }
    }

    fn next_segment(&mut self) -> io::Result<bool> {
        self.cursor = Cursor { segment: self.cursor.segment + 1, offset: 0 };
        self.unstored.get_or_insert_with(|| self.clock.monotonic());
        self.rotate()?;
        Ok(true)
    }

    /// Goes on behind these lines, as far as they are taken.
    fn put(&mut self, lines: &[u8]) -> io::Result<()> {
        let (taken, outcome) = match &mut self.out {
            Some(Out::File(file)) => match file.write_all(lines) {
                Ok(()) => (lines.len(), Ok(())),
                failed => (0, failed),
            },
            Some(Out::Stdout) => to_stdout(lines),
            None => (0, Err(io::ErrorKind::NotConnected.into())),
        };
        let whole = match taken == lines.len() {
            true => taken,
            false => lines[..taken].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1),
        };
        self.torn = taken > whole;
        self.cursor.offset += whole as u64;
        self.unstored_bytes += whole as u64;
        self.unstored.get_or_insert_with(|| self.clock.monotonic());
        outcome
    }

    /// Opens what is not open, or was put aside by somebody else.
    fn open(&mut self) -> io::Result<()> {
        let Target::File { path, .. } = &self.target else {
            if self.out.is_none() && self.torn {
                // What comes again begins a line.
                to_stdout(b"\n").1?;
            }
            self.torn = false;
            self.out.get_or_insert(Out::Stdout);
            return Ok(());
        };
        if let Some(Out::File(file)) = &self.out
            && files::is_named(file, path)
        {
            return Ok(());
        }
        let first = self.out.is_none();
        let mut file = to_append(path)?;
        if first && let Some(cursor) = self.found(&mut file)? {
            self.cursor = cursor;
        }
        self.out = Some(Out::File(file));
        Ok(())
    }

    /// Where the spool goes on behind the last whole line of a file; half a line is cut off.
    fn found(&self, file: &mut File) -> io::Result<Option<Cursor>> {
        let Some(last) = last_line(file)? else { return Ok(None) };
        let Some(last) = Line::parse(&last) else { return Err(not_a_trail()) };
        // Somebody may have taken lines away that it had.
        let (mut cursor, end) = (self.beginning(), self.spool.tail().segment);
        while cursor.segment <= end {
            let segment = match File::open(self.spool.path(cursor.segment)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    cursor.segment += 1;
                    continue;
                }
                segment => segment?,
            };
            let mut lines = BufReader::new(segment);
            let mut line = Vec::new();
            while lines.read_until(b'\n', &mut line)? > 0 {
                cursor.offset += line.len() as u64;
                let parsed = line.strip_suffix(b"\n").and_then(Line::parse);
                if parsed.is_some_and(|it| (it.chain, it.seq) == (last.chain, last.seq)) {
                    return Ok(Some(cursor));
                }
                line.clear();
            }
            cursor = Cursor { segment: cursor.segment + 1, offset: 0 };
        }
        Ok(None)
    }

    /// Puts a file aside that has become long. Only between segments, so that each file begins with a line that says what is
    /// before it.
    fn rotate(&mut self) -> io::Result<()> {
        let path = match (&self.target, &self.out) {
            (Target::File { path, rotate }, Some(Out::File(file)))
                if file.metadata()?.len() >= *rotate =>
            {
                path.clone()
            }
            _ => return Ok(()),
        };
        // The next file does not say how far this one is.
        self.store()?;
        let now = rfc3339(self.clock.now()).replace(':', "");
        // Two may be put aside in one millisecond, or a clock be set back.
        let aside = |count: u32| files::with_suffix(&path, &format!(".{now}-{count}"));
        let free = (0..).map(aside).find(|aside| !aside.exists());
        fs::rename(&path, free.unwrap_or_else(|| aside(0)))?;
        files::sync_directory(&path)?;
        self.out = Some(Out::File(to_append(&path)?));
        Ok(())
    }

    fn place(&self) -> PathBuf {
        self.spool.directory().join(format!("{}.cursor", self.target.name()))
    }

    fn beginning(&self) -> Cursor {
        Cursor { segment: self.spool.first(), offset: 0 }
    }

    /// What was kept of how far it has come, where that can be.
    fn stored(&self) -> Option<Cursor> {
        let cursor = read_cursor(&self.place())?;
        let known = self.spool.is_behind_a_line(cursor.segment, cursor.offset);
        if !known && self.told.admit().is_some() {
            let sink = self.target.name();
            tracing::error!(
                sink,
                "how far the audit trail's sink has come is not known: its place in the spool is not there any more; it begins with the oldest line there is"
            );
        }
        known.then_some(cursor)
    }

    /// Now and then, and at the end.
    fn store_if_due(&mut self, ended: bool) -> io::Result<()> {
        let now = self.clock.monotonic();
        // What comes twice after a kill is few enough for `audit verify` to know it again.
        let many = self.unstored_bytes >= limits::AUDIT_SINK_BYTES || self.spool.is_half_full();
        let due = |since: Duration| ended || many || now >= since + limits::AUDIT_SINK_PAUSE;
        if !self.unstored.is_some_and(due) {
            return Ok(());
        }
        self.settle()?;
        if let Err(error) = self.keep_place() {
            // What it has taken it has: it goes on, and only a kill would make that come twice.
            self.unstored = Some(now);
            if self.told.admit().is_some() {
                let sink = self.target.name();
                tracing::error!(sink, %error, "how far the audit trail's sink has come cannot be kept; it is tried again");
            }
        }
        Ok(())
    }

    /// Keeps how far it has come, once that is safe.
    fn store(&mut self) -> io::Result<()> {
        self.settle()?;
        self.keep_place()
    }

    fn settle(&self) -> io::Result<()> {
        match &self.out {
            Some(Out::File(file)) => file.sync_data(),
            _ => Ok(()),
        }
    }

    fn keep_place(&mut self) -> io::Result<()> {
        let (place, Cursor { segment, offset }) = (self.place(), self.cursor);
        let draft = files::with_suffix(&place, ".new");
        fs::write(&draft, format!("{segment} {offset}\n"))?;
        fs::rename(draft, place)?;
        (self.unstored, self.unstored_bytes) = (None, 0);
        self.spool.passed(self.number, segment, offset);
        Ok(())
    }
}

/// Not by the standard library, which keeps a part of what it could not write. How much was taken.
fn to_stdout(bytes: &[u8]) -> (usize, io::Result<()>) {
    let (out, mut taken) = (io::stdout(), 0);
    while taken < bytes.len() {
        match rustix::io::write(&out, &bytes[taken..]) {
            Ok(0) => return (taken, Err(io::ErrorKind::WriteZero.into())),
            Ok(more) => taken += more,
            Err(Errno::INTR) => {}
            // Somebody who shares it made it so: it is waited for all the same.
            Err(Errno::AGAIN) => match poll(&mut [PollFd::new(&out, PollFlags::OUT)], None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return (taken, Err(error.into())),
            },
            Err(error) => return (taken, Err(error.into())),
        }
    }
    (taken, Ok(()))
}

/// Of one process at a time: two would write chains into each other.
fn to_append(path: &Path) -> io::Result<File> {
    let is_new = !path.exists();
    let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
    if is_new {
        files::sync_directory(path)?;
    }
    match file.try_lock() {
        // Not every file system has locks.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(io::Error::other("another process writes it; give each sidecar a file of its own"))
        }
    }
}

/// The last segment that a sink has come to, of those that keep that in a directory.
pub(super) fn passed(directory: &Path) -> u64 {
    let cursors = ["file", "stdout"].map(|name| directory.join(format!("{name}.cursor")));
    cursors.iter().filter_map(|path| read_cursor(path)).map(|it| it.segment).max().unwrap_or(0)
}

fn read_cursor(path: &Path) -> Option<Cursor> {
    let text = fs::read_to_string(path).ok()?;
    let (segment, offset) = text.trim().split_once(' ')?;
    Some(Cursor { segment: segment.parse().ok()?, offset: offset.parse().ok()? })
}

fn not_a_trail() -> io::Error {
    io::Error::other("it holds something else than an audit trail; give that a file of its own")
}

/// The last whole line of a file, which ends with it from then on. What was never a trail's is not touched.
fn last_line(file: &mut File) -> io::Result<Option<Vec<u8>>> {
    let (whole, length) = (whole_lines(file)?, file.metadata()?.len());
    if length > whole {
        let mut piece = vec![0; usize::try_from(length - whole).unwrap_or(CHUNK).min(CHUNK)];
        file.read_exact_at(&mut piece, whole)?;
        if !Line::is_begun(&piece) {
            return Err(not_a_trail());
        }
        file.set_len(whole)?;
    }
    let from = whole.saturating_sub(CHUNK as u64);
    file.seek(SeekFrom::Start(from))?;
    let mut end = Vec::new();
    file.take(whole - from).read_to_end(&mut end)?;
    end.pop();
    Ok(end.rsplit(|byte| *byte == b'\n').next().filter(|line| !line.is_empty()).map(Into::into))
}
