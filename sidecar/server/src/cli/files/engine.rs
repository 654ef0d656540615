//! The run itself: reads, asks, writes, batch by batch.

use std::{
    fs::File,
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use super::{
    Batches, FileError, Options, Progress, Reason, Source, Summary, Target,
    batch::Batch,
    call::{Caller, Retry},
    checkpoint::{Identity, Position},
    disk::Disk,
    job::{Job, usage},
    paths::Paths,
    reading::Reading,
    rows::{Feed, Rows},
    shape::{Fault, Place},
    sink::{Opener, Opening, Sink, new_run},
};

/// What a run needs from around it.
pub(super) struct Host<'a> {
    pub(super) disk: &'a mut dyn Disk,
    pub(super) progress: &'a mut dyn Progress,
    pub(super) entropy: &'a mut dyn FnMut(&mut [u8]),
    pub(super) retry: Retry,
}

/// Does what the options say.
pub(super) async fn run<B: Batches>(
    options: &Options,
    batches: &mut B,
    host: Host<'_>,
) -> Result<Summary, FileError> {
    let job = Job::new(options)?;
    let input = Input::open(&options.input)?;
    let output = match &options.output {
        Target::Stdout => Output::Stream(Box::new(io::stdout())),
        Target::Path(path) => {
            let paths = Paths::new(path)?;
            input.refuse_output(&paths)?;
            Output::File { paths, force: options.force }
        }
    };
    let Host { disk, progress, entropy, retry } = host;
    let host = Host { disk, progress: &mut *progress, entropy, retry };
    let ended = turn(&job, input, output, batches, host).await;
    progress.done();
    ended
}

/// The same from a stream into another.
pub(super) async fn stream<B: Batches>(
    options: &Options,
    (input, output): (Box<dyn Read>, Box<dyn Write>),
    batches: &mut B,
    host: Host<'_>,
) -> Result<Summary, FileError> {
    let job = Job::new(options)?;
    let name = PathBuf::from("the input");
    let input = Input { feed: Feed::Stream(input), name, known: None };
    turn(&job, input, Output::Stream(output), batches, host).await
}

/// An opened input.
pub(super) struct Input {
    pub(super) feed: Feed,
    pub(super) name: PathBuf,
    /// The same file once more and what it was at first, to notice a change.
    pub(super) known: Option<(File, Identity)>,
}

impl Input {
    fn open(source: &Source) -> Result<Self, FileError> {
        let Source::Path(path) = source else {
            let feed = Feed::Stream(Box::new(io::stdin()));
            return Ok(Self { feed, name: PathBuf::from("standard input"), known: None });
        };
        let failed = || FileError::io("read", path);
        let file = File::open(path).map_err(failed())?;
        if !file.metadata().map_err(failed())?.is_file() {
            let name = path.display();
            return Err(usage(format!("{name} is not a regular file; read it as standard input")));
        }
        let identity = Identity::of(&file).map_err(failed())?;
        let again = file.try_clone().map_err(failed())?;
        let feed = Feed::File { file, total: identity.length, left: identity.length };
        Ok(Self { feed, name: path.clone(), known: Some((again, identity)) })
    }

    fn refuse_output(&self, paths: &Paths) -> Result<(), FileError> {
        match &self.known {
            Some((file, _)) => paths.refuse_input(file, &self.name),
            None => Ok(()),
        }
    }
}

/// Where rows are to go.
pub(super) enum Output {
    Stream(Box<dyn Write>),
    File { paths: Paths, force: bool },
}

impl Output {
    /// Whether there are traces of an earlier run.
    fn is_begun(&self) -> bool {
        matches!(self, Self::File { paths, .. } if paths.progress.exists())
    }

    fn refuse_existing(&self) -> Result<(), FileError> {
        match self {
            Self::File { paths, force } => paths.refuse_output(*force),
            Self::Stream(_) => Ok(()),
        }
    }

    fn open(
        self,
        job: &Job,
        input: Option<Identity>,
        disk: &mut dyn Disk,
        entropy: &mut dyn FnMut(&mut [u8]),
    ) -> Result<(Option<Sink>, Opening), FileError> {
        match self {
            Self::Stream(stream) => {
                let position = Position::default();
                let opening = Opening { run: new_run(entropy), position, resumed: false };
                Ok((Some(Sink::Stream(stream)), opening))
            }
            Self::File { paths, force } => Opener { paths, job, input, force, disk }.open(entropy),
        }
    }
}

/// Turns one opened input.
pub(super) async fn turn<B: Batches>(
    job: &Job,
    input: Input,
    output: Output,
    batches: &mut B,
    host: Host<'_>,
) -> Result<Summary, FileError> {
    let Input { feed, name, known } = input;
    let mut reading = Reading::begin(job, Rows::new(feed, name.clone()))?;
    if !output.is_begun() {
        output.refuse_existing()?;
        reading.check(host.progress)?;
    }
    let identity = known.as_ref().map(|(_, identity)| identity.clone());
    let (sink, opening) = output.open(job, identity, host.disk, host.entropy)?;
    let resumed = opening.resumed.then_some(opening.position.rows + 1);
    let Some(sink) = sink else {
        return Ok(summary(&opening.position, resumed, true));
    };
    let resumable = sink.is_resumable();
    let caller = Caller { job, batches, retry: host.retry, resumable };
    let Host { disk, progress, .. } = host;
    let mut turn = Turn { reading, caller, sink, opening, disk, progress };
    turn.pump(job).await?;
    if let Some((file, identity)) = known {
        refuse_change(&file, &identity, &turn.opening.position, &name)?;
    }
    turn.sink.finish(turn.disk)?;
    Ok(summary(&turn.opening.position, resumed, resumable))
}

/// A run that has begun.
struct Turn<'a, B> {
    reading: Reading<'a>,
    caller: Caller<'a, B>,
    sink: Sink,
    /// Its position moves on with every commit.
    opening: Opening,
    disk: &'a mut dyn Disk,
    progress: &'a mut dyn Progress,
}

impl<B: Batches> Turn<'_, B> {
    async fn pump(&mut self, job: &Job) -> Result<(), FileError> {
        let mut batch = Batch::new(job, self.opening.position.offset);
        if self.opening.position.offset > 0 {
            self.reading.go_to(&self.opening.position)?;
        } else if !self.reading.head.bytes.is_empty() {
            batch.push_head(&self.reading.head.bytes, self.reading.head.rows);
        }
        let mut out = Vec::new();
        loop {
            self.fill(&mut batch)?;
            if batch.is_done() {
                return Ok(());
            }
            while !batch.is_done() {
                self.ask(&mut batch).await?;
                self.commit(job, &mut batch, &mut out)?;
            }
            batch.restart(self.opening.position.offset);
        }
    }

    fn fill(&mut self, batch: &mut Batch) -> Result<(), FileError> {
        while let Some(row) = self.reading.next()? {
            if !batch.fits(row.bytes, row.found) {
                let length = row.bytes.len();
                self.reading.take_back(length);
                return Ok(());
            }
            batch.push(row.bytes, row.number, row.found, row.tally);
        }
        Ok(())
    }

    async fn ask(&mut self, batch: &mut Batch) -> Result<(), FileError> {
        if batch.unanswered().is_empty() {
            return Ok(());
        }
        let answers = self.caller.ask(&self.key(batch), batch).await?;
        batch.answer(answers);
        Ok(())
    }

    /// The idempotency key of the batch's next call. Only the call of a single row can be another
    /// than the batch's first.
    fn key(&self, batch: &Batch) -> String {
        let (run, start) = (&self.opening.run, batch.start);
        match batch.answered() {
            0 => format!("file-{run}-{start}"),
            answered => format!("file-{run}-{start}-{answered}"),
        }
    }

    /// Writes the rows that are complete.
    fn commit(&mut self, job: &Job, batch: &mut Batch, out: &mut Vec<u8>) -> Result<(), FileError> {
        let mut position = self.opening.position;
        let written = batch.write(self.reading.head.shape.as_ref(), out, &mut position);
        let written = written.map_err(|unwritable| {
            let cell = batch.cell(unwritable.cell);
            let place = Place::Selected(cell.column);
            job.row_error(cell.row, Fault { place, reason: unwritable.reason })
        })?;
        if written {
            self.sink.commit(self.disk, out, &position)?;
            self.opening.position = position;
            let total = self.reading.rows.total();
            self.progress.at(position.offset, total, position.tally.rows);
        }
        match batch.overfull_row() {
            Some(row) => Err(job.row_error(row, Reason::ValuesTooLong.into())),
            None => Ok(()),
        }
    }
}

fn refuse_change(
    file: &File,
    identity: &Identity,
    end: &Position,
    name: &Path,
) -> Result<(), FileError> {
    let now = Identity::of(file).map_err(FileError::io("read", name))?;
    if now == *identity && end.offset == identity.length { Ok(()) } else { Err(FileError::Changed) }
}

fn summary(position: &Position, resumed_at_row: Option<u64>, resumable: bool) -> Summary {
    let tally = &position.tally;
    Summary {
        rows: tally.rows,
        values: tally.values,
        empty: tally.empty,
        bare: tally.bare,
        resumed_at_row,
        resumable,
        spelling: tally.spelling,
    }
}
