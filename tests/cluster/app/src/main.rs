//! The application of the tests on a cluster. It has an image of its own, without a shell, so all that a test wants
//! of it is a command of this program.

mod asked;
mod load;
mod pace;
mod relay;

use std::{env, error::Error, process::ExitCode};

use tokio::signal::unix::{SignalKind, signal};

const USAGE: &str = "\
app hold                    until SIGTERM
app ask                     makes the calls that standard input asks for, a line of JSON each
app load CALLERS            makes calls until SIGTERM, and says what came of them
app pace RATE SECONDS       so many calls a second, for so long, and what they took
app once CALLS              so many calls, then ends, as a Job does
app relay LISTEN TARGET     passes connections on";

type Outcome = Result<(), Box<dyn Error>>;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words[..] {
        ["hold"] => stopped().await,
        ["ask"] => asked::answer().await,
        ["load", callers] => load::until_stopped(callers).await,
        ["pace", rate, seconds] => pace::at(rate, seconds).await,
        ["once", calls] => load::once(calls).await,
        ["relay", listen, target] => relay::run(listen, target).await,
        _ => Err(USAGE.into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("{error}"));
            ExitCode::FAILURE
        }
    }
}

/// Ends at a SIGTERM.
async fn stopped() -> Outcome {
    signal(SignalKind::terminate())?.recv().await;
    Ok(())
}

/// A line of standard output, which is what the tests read.
#[allow(clippy::print_stdout)]
fn say(line: &str) {
    println!("{line}");
}
