//! The command line: one file for each command. Only this module prints.

use std::{
    ffi::OsString,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Parser, Subcommand};

mod audit;
mod canary;
mod check;
mod connect;
mod context;
mod dev;
pub mod files;
mod journal;
mod keys;
mod open;
mod policy;
mod run;
mod serve;
mod status;
mod sweep;
mod values;

/// What a command ends with.
pub type Outcome = Result<ExitCode, Stop>;

/// Why a command stopped, in words for the terminal.
pub struct Stop {
    code: u8,
    words: String,
}

/// A mistake in the configuration or the arguments.
const USAGE: u8 = 2;
/// The sidecar could not start: its store, keys, socket or admin address.
const START: u8 = 3;
/// Everything else.
const FAILED: u8 = 1;

impl Stop {
    #[expect(clippy::needless_pass_by_value, reason = "errors are made to be passed here")]
    fn new(code: u8, words: impl ToString) -> Self {
        Self { code, words: words.to_string() }
    }
}

/// Tokenization beside your application: one process, one Unix socket.
#[derive(Parser)]
#[command(name = "lunasec", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start a sidecar for development: embedded store, local key, nothing to configure
    Dev(dev::Dev),
    /// Start a sidecar with a configuration
    Serve(serve::Serve),
    /// Check a configuration and name every mistake at once
    Check(check::Check),
    /// Replace values by tokens: chosen columns of a file, or one value
    Tokenize(values::Values),
    /// Replace tokens by their values
    Detokenize(values::Values),
    /// Ask a running sidecar how it is
    Status(status::Status),
    /// Remove expired records and old tombstones
    Sweep(sweep::Sweep),
    /// Rotate or rewrap the data keys
    Keys(keys::Keys),
    /// List what waits in the journal of a stopped sidecar, or take some of it out
    Journal(journal::Journal),
    /// Prove files of audit trails, or follow one token through them
    Audit(audit::Audit),
    /// Mint tokens whose use raises an alarm
    Canary(canary::Canary),
    /// Test who may do what
    Policy(policy::Policy),
}

/// Which sidecar a command talks to.
#[derive(clap::Args)]
struct SocketArgument {
    /// The sidecar's socket
    #[arg(long, env = lunasec_api::SOCKET_VARIABLE, default_value = lunasec_api::DEFAULT_SOCKET)]
    socket: PathBuf,
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
        Command::Dev(command) => command.run(),
        Command::Serve(command) => command.run(),
        Command::Check(command) => command.run(),
        Command::Tokenize(command) => run::block_on(command.run(files::Direction::Tokenize)),
        Command::Detokenize(command) => run::block_on(command.run(files::Direction::Detokenize)),
        Command::Status(command) => run::block_on(command.run()),
        Command::Sweep(command) => run::block_on(command.run()),
        Command::Keys(command) => run::block_on(command.run()),
        Command::Journal(command) => run::block_on(command.run()),
        Command::Audit(command) => run::block_on(command.run()),
        Command::Canary(command) => run::block_on(command.run()),
        Command::Policy(command) => command.run(),
    };
    outcome.unwrap_or_else(|stop| {
        tell(&format!("lunasec: {}\n", stop.words));
        stop.code.into()
    })
}

/// Prints what was asked for. A reader that has had enough is no failure; a full disk is.
fn print(text: &str) -> Result<(), Stop> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
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
