//! What the commands that serve share: runtime, log, signals.

use std::{io, io::IsTerminal, path::PathBuf, sync::Arc};

use futures_util::{Stream, StreamExt, stream};
use lunasec_core::limits;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::timeout,
};
use tracing_subscriber::{
    Registry,
    filter::{LevelFilter, Targets},
    fmt,
    layer::SubscriberExt,
    reload,
    util::SubscriberInitExt,
};

use super::{FAILED, Outcome, START, Stop};
use crate::{
    app::{self, Addresses, App, Start},
    config::{Config, Format, Level, Log},
    platform,
    report::Protection,
    sandbox::{self, Places},
};

/// Reads the configuration once more.
pub(super) struct Again {
    /// Its file.
    pub(super) file: PathBuf,
    /// What reads it.
    pub(super) read: Box<dyn Fn() -> Result<Config, Stop> + Send + Sync>,
}

/// Runs on one thread: beside an application that wants the other cores, it is also the faster way.
pub(super) fn block_on(work: impl Future<Output = Outcome>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime {
        Ok(runtime) => {
            let outcome = runtime.block_on(work);
            // Some thread may wait for a name server or a hung volume: nobody waits for it any more.
            runtime.shutdown_background();
            outcome
        }
        Err(error) => Err(Stop::new(FAILED, format!("the runtime could not start: {error}"))),
    }
}

/// Starts a sidecar, announces it, and serves until SIGTERM or SIGINT. Where the configuration can be
/// read `again`, a SIGHUP does so; elsewhere it ends the process, as it does when a terminal closes.
pub(super) fn sidecar(
    config: Config,
    start: Start,
    again: Option<Again>,
    announce: impl FnOnce(&Addresses) -> Result<(), Stop>,
) -> Outcome {
    let log_level = init_log(&config.log);
    // Before any thread, and before anything is created.
    let hardening = platform::harden();
    platform::raise_file_limit(
        config.limits.connections
            + limits::REFUSALS
            + limits::ADMIN_CONNECTIONS
            + limits::OTHER_FILES,
    );
    app::refuse_a_credential_process(&config).map_err(|error| Stop::new(START, error))?;
    let places = Places::of(&config).and_machine(&config);
    let places = again.iter().fold(places, |places, again| places.and_file(&again.file));
    let sandbox = sandbox::confine(&config, &places, hardening.memory_locked.is_ok())
        .map_err(|error| Stop::new(START, error))?;
    block_on(async move {
        // Caught from here on: a stop during the start is a clean one too.
        let failed = |error: io::Error| Stop::new(FAILED, error);
        let stops = stop_signals().map_err(failed)?;
        let reloads = match again {
            Some(again) => reloads(signal(SignalKind::hangup()).map_err(failed)?, again).boxed(),
            None => stream::empty().boxed(),
        };
        let reloads = reloads.inspect(|config| log_level.set(config.log.level));
        let confined = sandbox.clone();
        let app = App::start(config, start, Protection { hardening, sandbox })
            .await
            .map_err(|error| Stop::new(START, error))?;
        confined.end_of_start().map_err(|error| Stop::new(START, error))?;
        let addresses = app.addresses();
        // Nobody has to read it for the sidecar to serve.
        let _ = announce(&addresses);
        tracing::info!(socket = %addresses.socket.display(), admin = ?addresses.admin, "serving");
        app.serve(stops, reloads).await;
        Ok(std::process::ExitCode::SUCCESS)
    })
}

/// A configuration for each SIGHUP. One with mistakes is named in the log, and the old one stays.
fn reloads(hangups: Signal, again: Again) -> impl Stream<Item = Config> {
    let again = Arc::new(again);
    stream::unfold((hangups, again), async |(mut hangups, again)| {
        loop {
            hangups.recv().await?;
            let read = Arc::clone(&again);
            // Files are read on a thread that may wait, for a volume that hangs perhaps.
            let read = tokio::task::spawn_blocking(move || (read.read)());
            match timeout(limits::CONFIG_READ_TIME, read).await {
                Ok(Ok(Ok(config))) => return Some((config, (hangups, again))),
                Ok(Ok(Err(stop))) => {
                    tracing::error!(mistakes = stop.words, "the old configuration stays in force");
                }
                Ok(Err(error)) => tracing::error!(%error, "the configuration could not be read"),
                Err(_) => tracing::error!(
                    "the configuration's file does not answer; the old one stays in force"
                ),
            }
        }
    })
}

/// The first asks for a stop, the second for one at once.
fn stop_signals() -> io::Result<impl Stream<Item = ()>> {
    let signals = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(stream::unfold(signals, async |(mut terminate, mut interrupt)| {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        Some(((), (terminate, interrupt)))
    }))
}

/// The log's level, which can be changed under it.
struct LogLevel(reload::Handle<Targets, Registry>);

impl LogLevel {
    fn set(&self, level: Level) {
        // Fails only if the log is gone.
        let _ = self.0.reload(filter(level));
    }
}

/// The level is for what we say ourselves. What libraries say below a warning may quote what they
/// carry: heads, bodies, keys.
fn filter(level: Level) -> Targets {
    let level = match level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    };
    Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        // It warns of what clients do, a line for each connection.
        .with_target("h2", level.min(LevelFilter::ERROR))
        .with_target("lunasec", level)
}

fn init_log(log: &Log) -> LogLevel {
    let (level, handle) = reload::Layer::new(filter(log.level));
    // A log that cannot be written must not stop what it tells of.
    let lines = fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .log_internal_errors(false);
    let registry = tracing_subscriber::registry().with(level);
    // Fails only if a log is set already, which then serves.
    let _ = match log.format {
        Format::Text => registry.with(lines).try_init(),
        Format::Json => registry.with(lines.json()).try_init(),
    };
    LogLevel(handle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_never_say_more_than_warnings_and_h2_not_even_those() {
        for level in [Level::Error, Level::Warn, Level::Info, Level::Debug, Level::Trace] {
            let says = |target, level| filter(level).would_enable(target, &tracing::Level::INFO);
            for library in ["hyper", "h2", "aws_smithy_runtime", "tower", "rustls", "redb", "tonic"]
            {
                assert!(!says(library, level), "{library}");
            }
            assert!(!filter(level).would_enable("h2::proto", &tracing::Level::WARN));
        }
        let everything = filter(Level::Trace);
        assert!(everything.would_enable("lunasec_sidecar::vault", &tracing::Level::TRACE));
        assert!(everything.would_enable("aws_sdk_kms", &tracing::Level::WARN));
    }
}
