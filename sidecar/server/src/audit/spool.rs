//! Records on their way to the sinks: a directory of this machine's disk, of one process. A thread of its own chains them and
//! writes them there, all that wait at once, in segments that are numbered on over restarts. A record is in the spool once
//! it is written: then it outlives the process, whatever ends it. It is synced within [`limits::AUDIT_SYNC`], or at once
//! where somebody waits for that: then it outlives the machine's power, too.
//!
//! Where it cannot be written, whoever waits is told so. What nobody waits for is kept in memory and tried again; what there is
//! no room for is dropped, and counted in the chain by an event `dropped`.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    mem,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use lunasec_core::{
    audit::{Chain, ChainId, Head, Line, RESUME, push_hex},
    limits,
};
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    Records, end_of,
    line::{self, Times, members},
};
use crate::{
    env::Clock,
    files,
    http::rfc3339,
    telemetry::{Dependency, Request, UNAVAILABLE},
};

/// Why there is no spool.
#[derive(Debug, thiserror::Error)]
#[error("the audit trail's spool {0} cannot be used: {1}")]
pub struct SpoolError(String, io::Error);

/// How a spool is.
pub struct Settings {
    /// Where it lies.
    pub directory: PathBuf,
    /// Bytes of what no sink has taken yet.
    pub bytes: u64,
    /// Names this process to readers: a pod, a machine.
    pub instance: String,
}

/// See the module.
pub struct Spool {
    directory: PathBuf,
    bytes: u64,
    clock: Arc<dyn Clock>,
    queue: Mutex<Queue>,
    wake: Condvar,
    /// Whether the last write failed.
    troubled: AtomicBool,
    held: Mutex<Held>,
    grown: Condvar,
    head: watch::Sender<Option<Synced>>,
    /// The end of the chain that the process before has left.
    left: Option<Synced>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// The end of a chain, on the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Synced {
    /// Which chain.
    pub chain: ChainId,
    /// Its last line.
    pub seq: u64,
    /// That one's hash.
    pub head: Head,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<Submission>,
    /// How many items they have.
    items: usize,
    dropped: u64,
    trouble: Option<Arc<str>>,
    /// Whether the thread waits to be woken.
    sleeps: bool,
    ended: bool,
}

struct Submission {
    records: Records,
    /// Whoever waits, and whether for the sync.
    waits: Option<(bool, Answer)>,
}

type Written = Result<(), Arc<str>>;
type Answer = oneshot::Sender<Written>;
/// Answers of one batch. They are handed to the runtime together: woken one by one from another thread, each would be a
/// system call.
type Answers = (Vec<Answer>, Written);

/// What there is, and how far each sink has come.
#[derive(Default)]
struct Held {
    /// Bytes of each segment.
    segments: BTreeMap<u64, u64>,
    /// A segment and a place in it.
    sinks: Vec<(u64, u64)>,
    /// Whether nothing follows.
    ended: bool,
    /// Whether a sink waits to be woken.
    waited_for: bool,
}

impl Held {
    /// Bytes that the slowest sink has not taken.
    fn waiting(&self) -> u64 {
        let Some((segment, offset)) = self.sinks.iter().min() else { return 0 };
        let bytes: u64 = self.segments.range(segment..).map(|(_, bytes)| bytes).sum();
        bytes.saturating_sub(*offset)
    }

    fn tail(&self) -> Tail {
        let (segment, length) =
            self.segments.last_key_value().map_or((0, 0), |(&at, &it)| (at, it));
        Tail { segment, length, ended: self.ended }
    }
}

/// How far the spool is written.
#[derive(Clone, Copy)]
pub(super) struct Tail {
    pub(super) segment: u64,
    pub(super) length: u64,
    /// Whether nothing follows.
    pub(super) ended: bool,
}

impl Spool {
    /// Begins a chain in a directory, which is made if need be.
    pub fn open(
        settings: Settings,
        chain: ChainId,
        clock: Arc<dyn Clock>,
        dependency: Arc<Dependency>,
    ) -> Result<Arc<Self>, SpoolError> {
        let Settings { directory, bytes, instance } = settings;
        let failed = |error| SpoolError(directory.display().to_string(), error);
        files::create_private_directory(&directory).map_err(failed)?;
        let segments = segments(&directory).map_err(failed)?;
        // Behind what the sinks have passed, also where somebody has removed it.
        let passed = super::sink::passed(&directory);
        let number = segments.last_key_value().map_or(0, |(last, _)| *last).max(passed) + 1;
        let ends = segments.keys().rev().map(|at| directory.join(file_name(*at)));
        let left = ends.into_iter().find_map(|path| last_line(&path));
        let spool = Arc::new(Self {
            directory: directory.clone(),
            bytes,
            clock,
            queue: Mutex::default(),
            wake: Condvar::new(),
            troubled: AtomicBool::new(false),
            held: Mutex::new(Held { segments, ..Held::default() }),
            grown: Condvar::new(),
            head: watch::Sender::new(None),
            left,
            thread: Mutex::default(),
        });
        let (answers, mut answered) = mpsc::unbounded_channel::<Answers>();
        tokio::spawn(async move {
            while let Some((answers, written)) = answered.recv().await {
                // Whoever waited may have given up.
                answers.into_iter().for_each(|answer| drop(answer.send(written.clone())));
            }
        });
        let mut writer = Writer {
            spool: Arc::clone(&spool),
            answers,
            times: Times::default(),
            dependency,
            instance,
            chain: Chain::new(chain),
            segment: None,
            number,
            lines: Vec::new(),
            unsynced: None,
            wait_for_sync: Vec::new(),
            kept: Vec::new(),
        };
        // A directory that cannot be written is found out now, and not by the first request.
        writer.open_segment().map_err(failed)?;
        let thread = std::thread::Builder::new().name("audit-spool".into());
        let thread = thread.spawn(move || writer.run()).map_err(failed)?;
        *lock(&spool.thread) = Some(thread);
        Ok(spool)
    }

    /// Takes records that nobody waits for.
    pub(super) fn submit(&self, records: Records) {
        self.push(Submission { records, waits: None });
    }

    /// Takes records, and says when they are written, or synced.
    pub(super) async fn written(&self, records: Records, synced: bool) -> Result<(), Arc<str>> {
        let (answer, written) = oneshot::channel();
        self.push(Submission { records, waits: Some((synced, answer)) });
        written.await.unwrap_or_else(|_| Err("the spool has no room for it".into()))
    }

    fn push(&self, submission: Submission) {
        let mut queue = lock(&self.queue);
        let items = submission.records.items.len();
        if queue.items + items > limits::AUDIT_QUEUE && !queue.waiting.is_empty() {
            // Whoever waits is told by its end.
            if submission.waits.is_none() {
                queue.dropped += items as u64;
            }
            return;
        }
        queue.items += items;
        queue.waiting.push(submission);
        if mem::take(&mut queue.sleeps) {
            self.wake.notify_one();
        }
    }

    /// Why it cannot be written, if it cannot.
    pub fn trouble(&self) -> Option<Arc<str>> {
        if !self.troubled.load(Ordering::Relaxed) {
            return None;
        }
        lock(&self.queue).trouble.clone()
    }

    /// The end of the chain that the process before has left.
    pub fn left(&self) -> Option<Synced> {
        self.left
    }

    /// The end of the chain, each time that it is synced.
    pub fn head(&self) -> watch::Receiver<Option<Synced>> {
        self.head.subscribe()
    }

    /// Writes what waits, and no more. The sinks end once they have it.
    pub fn end(&self) {
        let mut queue = lock(&self.queue);
        queue.ended = true;
        queue.sleeps = false;
        drop(queue);
        self.wake.notify_one();
        if let Some(thread) = lock(&self.thread).take() {
            let _ = thread.join();
        }
    }

    /// One more sink, which has taken nothing yet: its number among them.
    pub(super) fn join(&self) -> usize {
        let mut held = lock(&self.held);
        held.sinks.push((0, 0));
        held.sinks.len() - 1
    }

    /// A sink needs nothing before that place. Segments that no sink needs are removed.
    pub(super) fn passed(&self, sink: usize, segment: u64, offset: u64) {
        let mut held = lock(&self.held);
        held.sinks[sink] = (segment, offset);
        let needed = held.sinks.iter().min().map_or(0, |(segment, _)| *segment);
        let rest = held.segments.split_off(&needed);
        for (number, bytes) in mem::replace(&mut held.segments, rest) {
            // What cannot be removed is tried again with the next.
            if fs::remove_file(self.path(number)).is_err() && self.path(number).exists() {
                held.segments.insert(number, bytes);
            }
        }
    }

    /// How far it is written.
    pub(super) fn tail(&self) -> Tail {
        lock(&self.held).tail()
    }

    /// The same, after a while at most, in which nothing came of what a sink has not taken.
    pub(super) fn wait(&self, segment: u64, offset: u64, time: Duration) -> Tail {
        let none = |held: &mut Held| {
            let Tail { segment: last, length, ended } = held.tail();
            let none = !ended && (last, length) <= (segment, offset);
            held.waited_for |= none;
            none
        };
        let held = self.grown.wait_timeout_while(lock(&self.held), time, none);
        held.unwrap_or_else(PoisonError::into_inner).0.tail()
    }

    pub(super) fn path(&self, segment: u64) -> PathBuf {
        self.directory.join(file_name(segment))
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The oldest segment there is.
    pub(super) fn first(&self) -> u64 {
        let held = lock(&self.held);
        held.segments.first_key_value().map_or(0, |(first, _)| *first)
    }
}

fn file_name(segment: u64) -> String {
    format!("{segment:016}.jsonl")
}

/// The last whole line of a segment.
fn last_line(path: &Path) -> Option<Synced> {
    let end = end_of(path).ok()?;
    let line = end.split(|byte| *byte == b'\n').rev().find_map(Line::parse)?;
    Some(Synced { chain: line.chain, seq: line.seq, head: line.hash })
}

/// The numbers and lengths of the segments in a directory.
fn segments(directory: &Path) -> io::Result<BTreeMap<u64, u64>> {
    let mut segments = BTreeMap::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".jsonl")?.parse().ok());
        if let Some(number) = number {
            segments.insert(number, entry.metadata()?.len());
        }
    }
    Ok(segments)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Segment {
    file: File,
    length: u64,
}

/// What the thread works with.
struct Writer {
    spool: Arc<Spool>,
    dependency: Arc<Dependency>,
    instance: String,
    chain: Chain,
    segment: Option<Segment>,
    /// Of the segment, or of the next.
    number: u64,
    lines: Vec<u8>,
    /// Since when something is written and not synced.
    unsynced: Option<Duration>,
    wait_for_sync: Vec<Answer>,
    answers: mpsc::UnboundedSender<Answers>,
    times: Times,
    /// What could not be written, and nobody waits for.
    kept: Vec<Submission>,
}

impl Writer {
    fn run(mut self) {
        loop {
            let (batch, dropped, ended) = self.take();
            if !batch.is_empty() || dropped > 0 {
                self.write(batch, dropped);
            }
            let now = self.spool.clock.monotonic();
            let due = self.unsynced.is_some_and(|since| now >= since + limits::AUDIT_SYNC);
            if due || ended || !self.wait_for_sync.is_empty() {
                self.sync();
            }
            if ended {
                break;
            }
        }
        lock(&self.spool.held).ended = true;
        self.spool.grown.notify_all();
    }

    /// Waits for records, for the time of a sync, or for that to try again.
    fn take(&mut self) -> (Vec<Submission>, u64, bool) {
        let now = self.spool.clock.monotonic();
        let pause = match self.unsynced {
            Some(since) => (since + limits::AUDIT_SYNC).saturating_sub(now),
            None if self.kept.is_empty() => limits::AUDIT_IDLE,
            None => limits::AUDIT_RETRY,
        };
        let mut queue = lock(&self.spool.queue);
        if queue.waiting.is_empty() && !queue.ended && !pause.is_zero() {
            queue.sleeps = true;
            let idle = |queue: &mut Queue| queue.sleeps;
            let waited = self.spool.wake.wait_timeout_while(queue, pause, idle);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
            queue.sleeps = false;
            drop(queue);
            // Whoever was answered with the last batch may ask again just now: one write for all of them.
            std::thread::yield_now();
            queue = lock(&self.spool.queue);
        }
        queue.items = 0;
        let mut batch = mem::take(&mut self.kept);
        batch.append(&mut queue.waiting);
        (batch, mem::take(&mut queue.dropped), queue.ended)
    }

    /// In pieces: where there is room for little, what comes first gets it.
    fn write(&mut self, batch: Vec<Submission>, mut dropped: u64) {
        let mut left = batch.into_iter().peekable();
        while left.peek().is_some() || dropped > 0 {
            let (mut piece, mut items) = (Vec::new(), 0);
            while let Some(next) = left.next_if(|next| {
                items == 0 || items + next.records.items.len() <= limits::AUDIT_PIECE
            }) {
                items += next.records.items.len();
                piece.push(next);
            }
            if let Err(why) = self.write_piece(&piece, dropped) {
                piece.extend(left);
                return self.keep(piece, dropped, &why);
            }
            dropped = 0;
            let waits = piece.into_iter().filter_map(|submission| submission.waits);
            let (synced, written): (Vec<_>, Vec<_>) = waits.partition(|(synced, _)| *synced);
            self.wait_for_sync.extend(synced.into_iter().map(|(_, answer)| answer));
            self.answer(written.into_iter().map(|(_, answer)| answer).collect(), Ok(()));
        }
    }

    fn write_piece(&mut self, piece: &[Submission], dropped: u64) -> Written {
        let asked = Arc::clone(&self.dependency);
        let asked = asked.begin(Request::write("spool"));
        // Its first line is there for good: only what follows is taken back.
        let opened = if self.segment.is_none() { self.open_segment() } else { Ok(()) };
        let before = self.chain;
        match opened.and_then(|()| self.append(piece, dropped)) {
            Ok(()) => {
                asked.answered("ok");
                self.well();
                Ok(())
            }
            Err(error) => {
                self.chain = before;
                self.cut();
                let why: Arc<str> = error.to_string().into();
                asked.failed(UNAVAILABLE, &why);
                self.trouble(&why);
                Err(why)
            }
        }
    }

    fn answer(&self, answers: Vec<Answer>, written: Written) {
        if !answers.is_empty() {
            // Nobody waits any more where the runtime is gone.
            let _ = self.answers.send((answers, written));
        }
    }

    fn append(&mut self, batch: &[Submission], dropped: u64) -> io::Result<()> {
        self.lines.clear();
        for submission in batch {
            for item in &submission.records.items {
                let times = &mut self.times;
                self.chain
                    .add(&mut self.lines, |line| members(line, times, &submission.records, item));
            }
        }
        if dropped > 0 {
            let now = rfc3339(self.spool.clock.now());
            self.chain.add(&mut self.lines, |line| {
                line::text(line, "event", "dropped");
                line::text(line, "time", &now);
                line::number(line, "count", dropped);
            });
        }
        let waiting = lock(&self.spool.held).waiting();
        if waiting + self.lines.len() as u64 > self.spool.bytes {
            return Err(io::Error::other(
                "it is full, for a sink has taken nothing for long; make that work again, or raise audit.spool_bytes",
            ));
        }
        let lines = mem::take(&mut self.lines);
        let written = self.put(&lines);
        self.lines = lines;
        written
    }

    fn put(&mut self, lines: &[u8]) -> io::Result<()> {
        let Some(segment) = &mut self.segment else { return Err(io::ErrorKind::NotFound.into()) };
        segment.file.write_all(lines)?;
        segment.length += lines.len() as u64;
        let length = segment.length;
        let mut held = lock(&self.spool.held);
        held.segments.insert(self.number, length);
        if mem::take(&mut held.waited_for) {
            self.spool.grown.notify_all();
        }
        drop(held);
        self.unsynced.get_or_insert_with(|| self.spool.clock.monotonic());
        if length >= limits::AUDIT_SEGMENT {
            self.sync();
            // Opened with the next record: if that fails, it is that one's trouble.
            self.segment = None;
            self.number += 1;
        }
        Ok(())
    }

    /// A file of its own, whose first line says what is before it.
    fn open_segment(&mut self) -> io::Result<()> {
        let path = self.spool.path(self.number);
        files::create_private_directory(&self.spool.directory)?;
        let mut options = OpenOptions::new();
        // A first try may have left an empty one.
        let file = options.append(true).create(true).mode(0o600).open(&path)?;
        file.set_len(0)?;
        files::sync_directory(&path)?;
        self.segment = Some(Segment { file, length: 0 });
        let (before, now) = (self.chain, rfc3339(self.spool.clock.now()));
        let mut first = Vec::new();
        self.chain.add(&mut first, |line| {
            match before.next() {
                0 => line::text(line, "event", "begin"),
                _ => {
                    line.extend_from_slice(RESUME.as_bytes());
                    push_hex(line, before.head());
                    line.push(b'"');
                }
            }
            line::text(line, "time", &now);
            line::text(line, "instance", &self.instance);
            line::text(line, "version", env!("CARGO_PKG_VERSION"));
        });
        self.put(&first).inspect_err(|_| {
            self.chain = before;
            self.segment = None;
        })
    }

    /// Takes back what a failed write has left of a line.
    fn cut(&mut self) {
        if let Some(segment) = &self.segment
            && segment.file.set_len(segment.length).is_err()
        {
            // Nothing may follow half a line: the next segment begins where this one was whole.
            self.segment = None;
            self.number += 1;
        }
    }

    fn well(&self) {
        if self.spool.troubled.swap(false, Ordering::Relaxed) {
            lock(&self.spool.queue).trouble = None;
        }
    }

    fn trouble(&self, why: &Arc<str>) {
        lock(&self.spool.queue).trouble = Some(Arc::clone(why));
        self.spool.troubled.store(true, Ordering::Relaxed);
    }

    /// What could not be written: of whom waits that is said, and the rest is tried again.
    fn keep(&mut self, batch: Vec<Submission>, dropped: u64, why: &Arc<str>) {
        let mut queue = lock(&self.spool.queue);
        queue.dropped += dropped;
        let (mut items, mut answers) = (queue.items, Vec::new());
        for submission in batch {
            items += submission.records.items.len();
            match submission.waits {
                Some((_, answer)) => answers.push(answer),
                None if items > limits::AUDIT_QUEUE => {
                    queue.dropped += submission.records.items.len() as u64;
                }
                None => self.kept.push(submission),
            }
        }
        drop(queue);
        self.answer(answers, Err(Arc::clone(why)));
    }

    fn sync(&mut self) {
        let Some(segment) = &self.segment else {
            // Each is synced before the next one is begun.
            let answers = mem::take(&mut self.wait_for_sync);
            return self.answer(answers, Ok(()));
        };
        if self.unsynced.take().is_none() && self.wait_for_sync.is_empty() {
            return;
        }
        let synced = segment.file.sync_data().and_then(|()| {
            // What has no name any more is gone with the process.
            match files::is_named(&segment.file, &self.spool.path(self.number)) {
                true => Ok(()),
                false => Err(io::Error::other("somebody has removed its file")),
            }
        });
        let synced = synced.map_err(|error| Arc::from(error.to_string()));
        if synced.is_ok()
            && let Some(seq) = self.chain.next().checked_sub(1)
        {
            let (chain, head) = (self.chain.id(), *self.chain.head());
            self.spool.head.send_replace(Some(Synced { chain, seq, head }));
        }
        if let Err(why) = &synced {
            // What the disk has of it nobody knows: it is written on in another file, and tried again with the next.
            self.trouble(why);
            self.segment = None;
            self.number += 1;
        }
        let answers = mem::take(&mut self.wait_for_sync);
        self.answer(answers, synced);
    }
}
