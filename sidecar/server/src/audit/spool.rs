//! Records on their way to the sinks: a directory of this machine's disk, of one process. A thread of its own chains them and
//! writes them there, all that wait at once, in segments that are numbered on over restarts. A record is in the spool once
//! it is written: then it outlives the process, whatever ends it. A second thread ([`syncs`](super::syncs)) begins to sync it
//! within [`limits::AUDIT_SYNC`], or at once where somebody waits for that: then it outlives the machine's power, too.
//!
//! Where it cannot be written, whoever waits is told so. What nobody waits for is kept in memory and tried again; what there is
//! no room for is dropped, and counted in the chain by an event `dropped`.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    mem,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use lunasec_core::{
    audit::{Chain, ChainId, Head, RESUME, push_hex},
    limits,
};
use tokio::sync::{Notify, mpsc, watch};

use super::{
    Records,
    left::{self, Ends, Segments, file_name},
    line::{self, Times, members},
    pieces::{Fate, Piece, Queue, Told, Waited, Written, clerk},
    syncs::{Sync, Syncs},
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
    /// The first record of a turn is gathered.
    gathered: Notify,
    wake: Condvar,
    syncs: Syncs,
    /// Whether the last write failed.
    troubled: AtomicBool,
    held: Mutex<Held>,
    grown: Condvar,
    head: watch::Sender<Option<Synced>>,
    /// A sink has come further.
    room: Condvar,
    left: Mutex<Ends>,
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

/// What there is, and how far each sink has come.
#[derive(Default)]
struct Held {
    segments: Segments,
    /// A segment, and how far it is synced: what a loss of power could take back is no sink's yet.
    synced: (u64, u64),
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
        let (segment, length) = self.synced;
        Tail { segment, length, ended: self.ended }
    }
}

/// How far the spool is synced.
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
        files::sync_directory(&directory).map_err(failed)?;
        let segments = left::settle(&directory, &rfc3339(clock.now())).map_err(failed)?;
        let left = Ends::open(&directory, &segments).map_err(failed)?;
        let synced = segments.last_key_value().map_or((0, 0), |(&at, &length)| (at, length));
        // Behind what the sinks have passed, also where somebody has removed it.
        let passed = super::sink::passed(&directory);
        let last = segments.last_key_value().map_or(0, |(last, _)| *last).max(passed);
        let number = last.checked_add(1).ok_or_else(|| {
            failed(io::Error::other(
                "the place that a .cursor there names can be none; remove that file",
            ))
        })?;
        let spool = Arc::new(Self {
            directory: directory.clone(),
            bytes,
            clock,
            queue: Mutex::default(),
            gathered: Notify::new(),
            wake: Condvar::new(),
            syncs: Syncs::default(),
            troubled: AtomicBool::new(false),
            held: Mutex::new(Held { segments, synced, ..Held::default() }),
            grown: Condvar::new(),
            head: watch::Sender::new(None),
            left: Mutex::new(left),
            room: Condvar::new(),
            thread: Mutex::default(),
        });
        let (told, hears) = mpsc::unbounded_channel();
        tokio::spawn(clerk(Arc::clone(&spool), hears));
        let mut writer = Writer {
            spool: Arc::clone(&spool),
            told,
            times: Times::default(),
            dependency,
            instance,
            chain: Chain::new(chain),
            segment: None,
            number,
            lines: Vec::new(),
            unsynced: None,
            unsynced_bytes: 0,
            wait_for_sync: Vec::new(),
            kept: Vec::new(),
        };
        // A directory that cannot be written is found out now, and not by the first request.
        writer.open_segment().map_err(failed)?;
        let (synced, told) = (Arc::clone(&spool), writer.told.clone());
        let syncs = thread("audit-sync", move || synced.syncs.run(&synced, &told));
        let syncs = syncs.map_err(failed)?;
        let writer = thread("audit-spool", move || writer.run(syncs)).map_err(failed)?;
        *lock(&spool.thread) = Some(writer);
        Ok(spool)
    }

    /// Takes records that nobody waits for.
    pub(super) fn submit(&self, records: Records) {
        self.gather(records, None);
    }

    /// Takes records, and says when they are written, or synced.
    pub(super) async fn written(&self, records: Records, synced: bool) -> Written {
        match self.gather(records, Some(synced)) {
            Some(fate) => fate.known(synced).await,
            None => Err("the spool has no room for it".into()),
        }
    }

    fn gather(&self, records: Records, waits: Option<bool>) -> Option<Arc<Fate>> {
        let (fate, first) = lock(&self.queue).gather(records, waits)?;
        if first {
            self.gathered.notify_one();
        }
        Some(fate)
    }

    /// Waits until something is gathered.
    pub(super) async fn gathered(&self) {
        self.gathered.notified().await;
    }

    /// Hands what is gathered to the thread: what of it somebody waits for.
    pub(super) fn hand_over(&self) -> Vec<Waited> {
        let (waited_for, sleeps) = lock(&self.queue).hand_over();
        if sleeps {
            self.wake.notify_one();
        }
        waited_for
    }

    pub(super) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// Whether more waits for the sinks than half of what may.
    pub(super) fn is_half_full(&self) -> bool {
        lock(&self.held).waiting() > self.bytes / 2
    }

    /// Whether some sink has not taken all of a segment.
    pub(super) fn needs(&self, segment: u64) -> bool {
        lock(&self.held).segments.contains_key(&segment)
    }

    /// The chain is synced up to there.
    pub(super) fn synced(&self, end: Synced) {
        self.head.send_replace(Some(end));
    }

    /// A segment is as safe as it gets up to there: the sinks may have it.
    pub(super) fn settled(&self, segment: u64, length: u64) {
        let mut held = lock(&self.held);
        held.synced = held.synced.max((segment, length));
        if mem::take(&mut held.waited_for) {
            self.grown.notify_all();
        }
    }

    /// It could not be written, or synced.
    pub(super) fn troubled(&self, error: &io::Error) -> Arc<str> {
        let why: Arc<str> = error.to_string().into();
        let mut queue = lock(&self.queue);
        queue.trouble = Some(Arc::clone(&why));
        self.troubled.store(true, Ordering::Relaxed);
        // It has to be tried again.
        if mem::take(&mut queue.sleeps) {
            self.wake.notify_one();
        }
        why
    }

    fn well(&self, queue: &mut Queue) {
        queue.trouble = None;
        self.troubled.store(false, Ordering::Relaxed);
    }

    /// Why it cannot be written, if it cannot.
    pub fn trouble(&self) -> Option<Arc<str>> {
        if !self.troubled.load(Ordering::Relaxed) {
            return None;
        }
        lock(&self.queue).trouble.clone()
    }

    /// The end of a chain that a process before has left, and that is not known to be anchored.
    pub(super) fn left(&self) -> Option<Synced> {
        lock(&self.left).first()
    }

    /// It is.
    pub(super) fn left_is_anchored(&self, end: Synced) {
        lock(&self.left).anchored(end);
    }

    /// Keeps which ends are left on the disk.
    pub(super) fn keep_left(&self) {
        lock(&self.left).keep_rest();
    }

    /// Whether a sink may have come that far: up to the end of a line, of a segment that is there.
    pub(super) fn is_behind_a_line(&self, segment: u64, offset: u64) -> bool {
        let held = lock(&self.held);
        let (Some((first, _)), Some((last, _))) =
            (held.segments.first_key_value(), held.segments.last_key_value())
        else {
            return false;
        };
        let between = (*first..=*last).contains(&segment);
        let length = held.segments.get(&segment).copied().unwrap_or_default();
        drop(held);
        let is_line_end = || -> io::Result<bool> {
            let mut byte = [0];
            File::open(self.path(segment))?.read_exact_at(&mut byte, offset - 1)?;
            Ok(byte == *b"\n")
        };
        between && (offset == 0 || offset <= length && is_line_end().unwrap_or(false))
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
    pub fn join(&self) -> usize {
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
        self.room.notify_all();
    }

    /// Waits until the sinks have left room for so many bytes, if they do so soon: whether they have.
    fn has_room(&self, bytes: u64) -> bool {
        let none = |held: &mut Held| held.waiting() + bytes > self.bytes;
        let held = self.room.wait_timeout_while(lock(&self.held), limits::AUDIT_ROOM, none);
        !held.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// Whether the process before has left anything behind that place.
    pub(super) fn has_left(&self, segment: u64, offset: u64) -> bool {
        let held = lock(&self.held);
        let own = held.segments.last_key_value().map_or(0, |(at, _)| *at);
        let left: u64 = held.segments.range(segment..own).map(|(_, bytes)| bytes).sum();
        left > offset
    }

    /// How far it is synced.
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn thread(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.into()).spawn(work)
}

struct Segment {
    file: Arc<File>,
    length: u64,
    /// Whether no sync of it was asked for yet.
    is_new: bool,
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
    unsynced_bytes: u64,
    wait_for_sync: Vec<Arc<Fate>>,
    told: mpsc::UnboundedSender<Told>,
    times: Times,
    /// What could not be written, and nobody waits for.
    kept: Vec<Piece>,
}

impl Writer {
    fn run(mut self, syncs: JoinHandle<()>) {
        loop {
            let (pieces, dropped, ended) = self.take();
            if !pieces.is_empty() || dropped > 0 {
                self.write(pieces, dropped);
            }
            let now = self.spool.clock.monotonic();
            // A small spool would be full before its sinks may have anything.
            let due = self.unsynced.is_some_and(|since| now >= since + limits::AUDIT_SYNC)
                || self.unsynced_bytes > self.spool.bytes / 8;
            if due || ended || !self.wait_for_sync.is_empty() {
                self.sync();
            }
            if ended {
                break;
            }
        }
        self.close();
        let lost: usize = self.kept.iter().map(|piece| piece.items).sum();
        if lost > 0 {
            tracing::error!(
                lost,
                "records of the audit trail are lost, for the spool could not be written until the end"
            );
        }
        self.spool.syncs.end();
        let _ = syncs.join();
        lock(&self.spool.held).ended = true;
        self.spool.grown.notify_all();
    }

    /// Writes the chain's last line.
    fn close(&mut self) {
        // The last record may have filled its segment.
        if self.segment.is_none() && self.open_segment().is_err() {
            return;
        }
        let now = rfc3339(self.spool.clock.now());
        let (before, mut last) = (self.chain, Vec::new());
        self.chain.end(&mut last, |line| line::text(line, "time", &now));
        if self.put(&last).is_err() {
            // The next process does it.
            self.chain = before;
            self.cut();
        }
        self.sync();
    }

    /// Waits for records, for the time of a sync, or for that to try again.
    fn take(&mut self) -> (Vec<Piece>, u64, bool) {
        let now = self.spool.clock.monotonic();
        let mut queue = lock(&self.spool.queue);
        let troubled = queue.trouble.is_some();
        let pause = match self.unsynced {
            Some(since) => (since + limits::AUDIT_SYNC).saturating_sub(now),
            None if self.kept.is_empty() && !troubled => limits::AUDIT_IDLE,
            None => limits::AUDIT_RETRY,
        };
        if queue.is_idle() && !pause.is_zero() {
            queue.sleeps = true;
            let waited = self.spool.wake.wait_timeout_while(queue, pause, |queue| queue.sleeps);
            let (woken, timed) = waited.unwrap_or_else(PoisonError::into_inner);
            queue = woken;
            queue.sleeps = false;
            if troubled && timed.timed_out() {
                // Whoever comes next tries it. Where all are refused before they do, nobody would.
                self.spool.well(&mut queue);
            }
        }
        (queue.take(&mut self.kept), mem::take(&mut queue.dropped), queue.ended)
    }

    /// Not more at once than may be taken back: where there is room for little, what comes first gets it.
    fn write(&mut self, pieces: Vec<Piece>, mut dropped: u64) {
        let mut left = pieces.into_iter().peekable();
        while left.peek().is_some() || dropped > 0 {
            let (mut pieces, mut items) = (Vec::new(), 0);
            while let Some(next) =
                left.next_if(|next| items == 0 || items + next.items <= limits::AUDIT_PIECE)
            {
                items += next.items;
                pieces.push(next);
            }
            if let Err(why) = self.write_pieces(&pieces, dropped) {
                pieces.extend(left);
                return self.keep(pieces, dropped, why);
            }
            dropped = 0;
            let durable = pieces.iter().filter(|piece| piece.durable);
            self.wait_for_sync.extend(durable.map(|piece| Arc::clone(&piece.fate)));
            self.tell(Told::Written(pieces));
            if self.segment.as_ref().is_some_and(|it| it.length >= limits::AUDIT_SEGMENT) {
                // Opened with the next record: if that fails, it is that one's trouble.
                self.leave_segment();
            }
        }
    }

    fn write_pieces(&mut self, pieces: &[Piece], dropped: u64) -> Written {
        let asked = Arc::clone(&self.dependency);
        let asked = asked.begin(Request::write("spool"));
        if self.segment.is_some() && self.spool.syncs.has_failed(self.number) {
            self.leave_segment();
        }
        // Its first line is there for good: only what follows is taken back.
        let opened = if self.segment.is_none() { self.open_segment() } else { Ok(()) };
        let before = self.chain;
        match opened.and_then(|()| self.append(pieces, dropped)) {
            Ok(()) => {
                asked.answered("ok");
                if self.spool.troubled.load(Ordering::Relaxed) {
                    self.spool.well(&mut lock(&self.spool.queue));
                }
                Ok(())
            }
            Err(error) => {
                self.chain = before;
                self.cut();
                let why = self.spool.troubled(&error);
                asked.failed(UNAVAILABLE, &why);
                Err(why)
            }
        }
    }

    fn tell(&self, told: Told) {
        // Nobody waits any more where the runtime is gone.
        let _ = self.told.send(told);
    }

    fn append(&mut self, pieces: &[Piece], dropped: u64) -> io::Result<()> {
        let before = self.chain;
        self.lines.clear();
        for (records, _) in pieces.iter().flat_map(|piece| &piece.records) {
            for item in &records.items {
                let times = &mut self.times;
                self.chain.add(&mut self.lines, |line| members(line, times, records, item));
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
        let bytes = self.lines.len() as u64;
        if lock(&self.spool.held).waiting() + bytes > self.spool.bytes {
            // They are given only what is synced, which these lines are not.
            let ahead = mem::replace(&mut self.chain, before);
            self.sync();
            self.chain = ahead;
            if !self.spool.has_room(bytes) {
                return Err(io::Error::other(
                    "it is full, for a sink has not kept up; make that work again, or raise audit.spool_bytes",
                ));
            }
        }
        let lines = mem::take(&mut self.lines);
        let written = self.put(&lines);
        self.lines = lines;
        written
    }

    fn put(&mut self, lines: &[u8]) -> io::Result<()> {
        let Some(segment) = &mut self.segment else { return Err(io::ErrorKind::NotFound.into()) };
        (&*segment.file).write_all(lines)?;
        segment.length += lines.len() as u64;
        let length = segment.length;
        lock(&self.spool.held).segments.insert(self.number, length);
        self.unsynced_bytes += lines.len() as u64;
        self.unsynced.get_or_insert_with(|| self.spool.clock.monotonic());
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
        self.segment = Some(Segment { file: Arc::new(file), length: 0, is_new: true });
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
            // A start that fails for it leaves nothing.
            let _ = fs::remove_file(&path);
        })
    }

    /// Takes back what a failed write has left of a line.
    fn cut(&mut self) {
        if let Some(segment) = &self.segment
            && segment.file.set_len(segment.length).is_err()
        {
            // Nothing may follow half a line: the next segment begins where this one was whole.
            self.leave_segment();
        }
    }

    fn leave_segment(&mut self) {
        self.sync();
        self.segment = None;
        self.number += 1;
    }

    /// What could not be written: of whom waits that is said, and the rest is tried again.
    fn keep(&mut self, pieces: Vec<Piece>, dropped: u64, why: Arc<str>) {
        let fates = pieces.iter().map(|piece| Arc::clone(&piece.fate)).collect();
        let mut queue = lock(&self.spool.queue);
        queue.dropped += dropped;
        let mut items = queue.items();
        for piece in pieces.into_iter().map(Piece::left) {
            items += piece.items;
            if items > limits::AUDIT_QUEUE {
                queue.dropped += piece.items as u64;
            } else if piece.items > 0 {
                self.kept.push(piece);
            }
        }
        drop(queue);
        self.tell(Told::Failed(fates, why));
    }

    /// Asks for a sync of what is written and not synced.
    fn sync(&mut self) {
        let (Some(segment), Some(since)) = (&mut self.segment, self.unsynced.take()) else {
            return;
        };
        let Some(seq) = self.chain.next().checked_sub(1) else { return };
        let end = Synced { chain: self.chain.id(), seq, head: *self.chain.head() };
        self.unsynced_bytes = 0;
        let sync = Sync {
            number: self.number,
            length: segment.length,
            path: self.spool.path(self.number),
            file: Arc::clone(&segment.file),
            is_new: mem::take(&mut segment.is_new),
            since,
            end,
            fates: mem::take(&mut self.wait_for_sync),
        };
        self.spool.syncs.ask(sync, self.spool.clock.monotonic());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(directory: &Path) -> Result<Arc<Spool>, SpoolError> {
        let clock: Arc<dyn Clock> = Arc::new(crate::env::SystemClock::default());
        let dependency = crate::telemetry::Telemetry::new(Arc::clone(&clock)).dependency("audit");
        let directory = directory.to_owned();
        let settings = Settings { directory, bytes: 1 << 20, instance: "here".into() };
        Spool::open(settings, ChainId([1; 16]), clock, dependency)
    }

    #[tokio::test]
    async fn a_place_of_a_sink_is_believed_where_a_line_ends_and_nowhere_else() {
        let directory = tempfile::tempdir().unwrap();
        let spool = open(directory.path()).unwrap();
        let length = spool.path(1).metadata().unwrap().len();
        for (segment, offset, is) in [
            (1, 0, true),
            (1, length, true),
            (1, length - 1, false),
            (1, length + 1, false),
            (0, 0, false),
            (2, 0, false),
        ] {
            assert_eq!(spool.is_behind_a_line(segment, offset), is, "{segment} {offset}");
        }
        let spool = tokio::task::spawn_blocking(move || spool.end());
        spool.await.unwrap();
        let place = directory.path().join("stdout.cursor");
        fs::write(place, format!("{} 0", u64::MAX)).unwrap();
        let said = open(directory.path()).err().unwrap().to_string();
        assert!(said.contains("remove that file"), "{said}");
    }

    /// What one sink has taken another may still want.
    #[tokio::test]
    async fn a_segment_is_there_until_each_sink_that_has_joined_has_passed_it() {
        let directory = tempfile::tempdir().unwrap();
        let spool = open(directory.path()).unwrap();
        let (one, other) = (spool.join(), spool.join());
        spool.passed(one, 2, 0);
        assert!(spool.path(1).exists());
        spool.passed(other, 2, 0);
        assert!(!spool.path(1).exists());
        tokio::task::spawn_blocking(move || spool.end()).await.unwrap();
    }

    /// What the machine's power takes back from the spool must not be at a sink.
    #[test]
    fn sinks_are_given_what_is_synced_and_no_more() {
        let held = Held {
            segments: Segments::from([(1, 100), (2, 50)]),
            synced: (1, 80),
            sinks: vec![(1, 60)],
            ..Held::default()
        };
        let Tail { segment, length, .. } = held.tail();
        assert_eq!((segment, length, held.waiting()), (1, 80, 90));
    }
}
