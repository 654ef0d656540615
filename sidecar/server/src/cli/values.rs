//! `lunasec tokenize` and `lunasec detokenize`: whole files with `--columns`, one value without.
//! Values come from a file or from standard input, never from the arguments.

use std::{
    fs::File,
    io::{self, IsTerminal, Read, Write},
    path::PathBuf,
    process::ExitCode,
    time::Instant,
};

use lunasec_client::{Client, Error, Plaintext, Value};
use lunasec_core::limits;

use super::{
    FAILED, Outcome, Stop, USAGE,
    context::{Context, Spoken},
    files::{
        self, Bar, Batches, CallError, Cell, Direction, FileError, Format, ItemError, Options,
        Source, Summary, Target,
    },
    tell,
};
use crate::env::{Entropy, SystemEntropy};

/// Half of what a batch may have: JSON writes quotes, escapes and base64 around the values.
const BATCH_BYTES: usize = limits::BATCH_BYTES / 2;

/// Arguments of both commands.
#[derive(clap::Args)]
pub(super) struct Values {
    #[command(flatten)]
    context: Context,
    /// The file to read; - for standard input
    #[arg(long, short, default_value = "-")]
    input: PathBuf,
    /// The file to write; - for standard output
    #[arg(long, short, default_value = "-")]
    output: PathBuf,
    /// The columns of a CSV file, or dotted paths into JSON lines, separated by commas; without
    /// them the whole input is one value
    #[arg(long, short, value_delimiter = ',')]
    columns: Vec<String>,
    /// How the input is written [default: by its name's extension]
    #[arg(long, value_enum)]
    format: Option<FormatArgument>,
    /// What stands between the cells of a CSV file
    #[arg(long)]
    delimiter: Option<char>,
    /// The CSV file has no header: columns are numbers from 1
    #[arg(long)]
    no_header: bool,
    /// Write JSON strings in ASCII, as \uXXXX (detokenize)
    #[arg(long)]
    ascii: bool,
    /// Replace an existing output, and begin anew over another run's traces
    #[arg(long)]
    force: bool,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum FormatArgument {
    Csv,
    Tsv,
    Jsonl,
}

impl Values {
    pub(super) async fn run(self, direction: Direction) -> Outcome {
        let Spoken { client, session } = self.context.speak()?;
        if self.columns.is_empty() {
            return self.one(direction, &client).await;
        }
        let options = self.options(direction, session)?;
        let entropy = SystemEntropy::default();
        let mut failed = false;
        let mut fill = |out: &mut [u8]| failed |= entropy.fill(out).is_err();
        #[expect(clippy::disallowed_methods, reason = "tells a person how long it took")]
        let began = Instant::now();
        let summary =
            files::run(&options, &mut Socket(client), &mut Bar::default(), &mut fill).await;
        if failed {
            return Err(Stop::new(FAILED, crate::env::NoEntropy));
        }
        let summary = summary.map_err(|error| match error {
            FileError::Usage(words) => Stop::new(USAGE, words),
            error => Stop::new(FAILED, error),
        })?;
        report(direction, &summary, began.elapsed().as_secs_f64());
        Ok(ExitCode::SUCCESS)
    }

    fn options(&self, direction: Direction, session: Option<[u8; 32]>) -> Result<Options, Stop> {
        let is_dash = |path: &PathBuf| path.as_os_str() == "-";
        let delimiter = match self.delimiter.map(u8::try_from).transpose() {
            Ok(delimiter) => delimiter,
            Err(_) => return Err(Stop::new(USAGE, "the delimiter is one ASCII character")),
        };
        Ok(Options {
            direction,
            sidecar: self.context.socket(),
            namespace: self.context.namespace(),
            session,
            input: match &self.input {
                path if is_dash(path) => Source::Stdin,
                path => Source::Path(path.clone()),
            },
            output: match &self.output {
                path if is_dash(path) => Target::Stdout,
                path => Target::Path(path.clone()),
            },
            columns: self.columns.clone(),
            format: self.format.map(|format| match format {
                FormatArgument::Csv => Format::Csv,
                FormatArgument::Tsv => Format::Tsv,
                FormatArgument::Jsonl => Format::JsonLines,
            }),
            delimiter,
            header: !self.no_header,
            ascii: self.ascii,
            force: self.force,
            batch_items: limits::LIST_ITEMS,
            batch_bytes: BATCH_BYTES,
        })
    }

    /// The whole input as one value, or one token.
    async fn one(&self, direction: Direction, client: &Client) -> Outcome {
        let failed = |error: Error| Stop::new(FAILED, error);
        if self.output.as_os_str() != "-" && !self.force && self.output.exists() {
            let output = self.output.display();
            return Err(Stop::new(USAGE, format!("{output} exists; pass --force to replace it")));
        }
        let input = self.read_all()?;
        let output = match direction {
            Direction::Tokenize => {
                let value = Plaintext::text_or_bytes(&input.0[..]);
                let given = client.tokenize(value).await.map_err(failed)?;
                given.token.expose().as_bytes().to_vec()
            }
            Direction::Detokenize => {
                let text = String::from_utf8_lossy(&input.0);
                let value = client.detokenize(text.trim()).await.map_err(failed)?;
                value.reveal_bytes().to_vec()
            }
        };
        self.write_all(&Cell(output)).map_err(|error| {
            Stop::new(FAILED, format!("{} cannot be written: {error}", self.output.display()))
        })?;
        Ok(ExitCode::SUCCESS)
    }

    fn read_all(&self) -> Result<Cell, Stop> {
        let mut cell = Cell(Vec::new());
        // One byte more than a value may have shows that there are more.
        let most = limits::VALUE_BYTES as u64 + 1;
        let read = if self.input.as_os_str() == "-" {
            io::stdin().lock().take(most).read_to_end(&mut cell.0)
        } else {
            File::open(&self.input).and_then(|file| file.take(most).read_to_end(&mut cell.0))
        };
        read.map_err(|error| {
            Stop::new(FAILED, format!("{} cannot be read: {error}", self.input.display()))
        })?;
        Ok(cell)
    }

    fn write_all(&self, output: &Cell) -> io::Result<()> {
        if self.output.as_os_str() != "-" {
            if self.force {
                let _ = std::fs::remove_file(&self.output);
            }
            return crate::files::create_private(&self.output, &output.0);
        }
        let mut stdout = io::stdout().lock();
        stdout.write_all(&output.0)?;
        if stdout.is_terminal() {
            stdout.write_all(b"\n")?;
        }
        stdout.flush()
    }
}

/// On standard error: standard output may be the file.
fn report(direction: Direction, summary: &Summary, seconds: f64) {
    let done = match direction {
        Direction::Tokenize => "tokenized",
        Direction::Detokenize => "detokenized",
    };
    let Summary { values, rows, empty, .. } = summary;
    if let Some(row) = summary.resumed_at_row {
        tell(&format!("resumed at row {row}\n"));
    }
    tell(&format!(
        "{done} {values} values of {rows} rows in {seconds:.1} s; {empty} empty cells stayed\n"
    ));
    if summary.bare > 0 {
        tell(&format!("{} rows have none of the columns: they stay as they are\n", summary.bare));
    }
    let spelling = summary.spelling;
    if spelling.needs_ascii > 0 {
        let count = spelling.needs_ascii;
        tell(&format!(
            "{count} values are written in ASCII: detokenize with --ascii for the same bytes\n"
        ));
    }
    if spelling.needs_plain > 0 && spelling.needs_ascii > 0 {
        let count = spelling.needs_plain;
        tell(&format!("{count} values are not: they come back the same only without --ascii\n"));
    }
    if spelling.respelled > 0 {
        let count = spelling.respelled;
        tell(&format!(
            "{count} values use unusual escapes: they come back equal, in other bytes\n"
        ));
    }
}

/// The engine's calls over the socket.
struct Socket(Client);

impl Batches for Socket {
    async fn tokenize(
        &mut self,
        key: &str,
        values: &[Cell],
    ) -> Result<Vec<Result<String, ItemError>>, CallError> {
        let values = values.iter().map(|cell| Plaintext::text_or_bytes(&cell.0[..]));
        let items = self.0.tokenize_batch_once(key, values).await.map_err(call_error)?;
        let text = |item: Result<lunasec_client::Tokenized, _>| {
            item.map(|given| given.token.expose().to_owned()).map_err(item_error)
        };
        Ok(items.into_iter().map(text).collect())
    }

    async fn detokenize(
        &mut self,
        tokens: &[String],
    ) -> Result<Vec<Result<Cell, ItemError>>, CallError> {
        let items = self.0.detokenize_batch(tokens).await.map_err(call_error)?;
        let cell = |item: Result<Value, _>| {
            item.map(|value| Cell(value.reveal_bytes().to_vec())).map_err(item_error)
        };
        Ok(items.into_iter().map(cell).collect())
    }
}

#[expect(clippy::needless_pass_by_value, reason = "made to be passed to map_err")]
fn item_error(error: Error) -> ItemError {
    ItemError {
        code: error.code().to_owned(),
        detail: error.detail().to_owned(),
        retryable: error.retryable(),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "made to be passed to map_err")]
fn call_error(error: Error) -> CallError {
    let message = error.to_string();
    if error.retryable() {
        CallError::Unavailable { message, retry_after: error.retry_after() }
    } else {
        CallError::Fatal { message }
    }
}
