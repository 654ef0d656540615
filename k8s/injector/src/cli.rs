//! The command line. Only this module prints.

use std::{
    ffi::OsString,
    fs,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use clap::{Parser, Subcommand};

use crate::{review, settings::Settings};

mod pod;
mod serve;

/// A mistake in the settings or the arguments.
const USAGE: u8 = 2;
/// The injector could not start.
const START: u8 = 3;
/// Everything else.
const FAILED: u8 = 1;

/// Why a command stopped, in words for the terminal.
struct Stop {
    code: u8,
    words: String,
}

impl Stop {
    fn new(code: u8, words: impl Into<String>) -> Self {
        Self { code, words: words.into() }
    }
}

/// Puts the LunaSec sidecar into pods that ask for it
#[derive(Parser)]
#[command(name = "lunasec-injector", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Answer the API server, keep the certificates, and look for pods that were missed
    Serve(Config),
    /// Read a Pod as YAML or JSON, and write it with its sidecar
    Inject(Config),
    /// Read an AdmissionReview as JSON, and write the answer
    Review(Config),
}

#[derive(clap::Args)]
struct Config {
    /// The settings
    #[arg(long, default_value = "/etc/lunasec-injector/injector.toml")]
    config: PathBuf,
}

/// Runs a command line.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { USAGE.into() } else { ExitCode::SUCCESS };
        }
    };
    let outcome = match arguments.command {
        Command::Serve(Config { config }) => load(&config).and_then(|it| serve::run(Arc::new(it))),
        Command::Inject(Config { config }) => load(&config).and_then(|it| inject(&it)),
        Command::Review(Config { config }) => load(&config).and_then(|it| answer(&it)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(stop) => {
            tell(&format!("lunasec-injector: {}\n", stop.words));
            stop.code.into()
        }
    }
}

fn load(path: &Path) -> Result<Settings, Stop> {
    let name = path.display();
    let text = fs::read_to_string(path)
        .map_err(|error| Stop::new(USAGE, format!("{name} cannot be read: {error}")))?;
    Settings::read(&text).map_err(|mistakes| {
        let words = mistakes.join("\n  ");
        Stop::new(USAGE, format!("{name} has {} mistakes:\n  {words}", mistakes.len()))
    })
}

fn inject(settings: &Settings) -> Result<(), Stop> {
    let text = input()?;
    let injected = pod::injected(settings, &text).map_err(|words| Stop::new(FAILED, words))?;
    for words in &injected.warnings {
        tell(&format!("warning: {words}\n"));
    }
    print(injected.yaml.as_bytes())
}

fn answer(settings: &Settings) -> Result<(), Stop> {
    let answer = review::answer(settings, input()?.as_bytes())
        .map_err(|error| Stop::new(FAILED, error.to_string()))?;
    print(&[answer.body(), b"\n".to_vec()].concat())
}

fn input() -> Result<String, Stop> {
    let mut text = String::new();
    match io::stdin().lock().read_to_string(&mut text) {
        Ok(_) => Ok(text),
        Err(error) => Err(Stop::new(FAILED, format!("standard input cannot be read: {error}"))),
    }
}

/// Prints what was asked for. A reader that has had enough is no failure; a full disk is.
fn print(text: &[u8]) -> Result<(), Stop> {
    let mut out = io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Stop::new(FAILED, format!("standard output cannot be written: {error}")))
        }
        _ => Ok(()),
    }
}

/// Tells a person something on the side; nobody has to be there.
fn tell(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}
