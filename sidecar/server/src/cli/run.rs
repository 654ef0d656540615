//! What the commands that serve share: runtime, log, signals.

use std::io::IsTerminal;

use lunasec_core::limits;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use super::{FAILED, Outcome, START, Stop};
use crate::{
    app::{Addresses, App},
    config::{Config, Format, Level, Log},
};

/// Runs on one thread: beside an application that wants the other cores, it is also the faster way.
pub(super) fn block_on(work: impl Future<Output = Outcome>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime {
        Ok(runtime) => runtime.block_on(work),
        Err(error) => Err(Stop::new(FAILED, format!("the runtime could not start: {error}"))),
    }
}

/// Starts a sidecar, announces it, and serves until SIGTERM or SIGINT.
pub(super) fn sidecar(config: Config, announce: impl FnOnce(&Addresses)) -> Outcome {
    // Before any thread: nothing a sidecar creates is for others, unless it says so.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    init_log(&config.log);
    raise_file_limit(config.limits.connections);
    block_on(async move {
        // Caught from here on: a stop during the start is a clean one too.
        let stop = stop_signal().map_err(|error| Stop::new(FAILED, error))?;
        let app = App::start(config).await.map_err(|error| Stop::new(START, error))?;
        let addresses = app.addresses();
        announce(&addresses);
        tracing::info!(socket = %addresses.socket.display(), admin = ?addresses.admin, "serving");
        app.serve(stop).await;
        Ok(std::process::ExitCode::SUCCESS)
    })
}

/// Many systems start a process with fewer files than the sidecar has connections.
fn raise_file_limit(connections: usize) {
    let others = limits::REFUSALS + limits::ADMIN_CONNECTIONS + limits::OTHER_FILES;
    let wanted = u64::try_from(connections + others).unwrap_or(u64::MAX);
    let limit = getrlimit(Resource::Nofile);
    // None is no limit.
    let possible = limit.maximum.map_or(wanted, |most| most.min(wanted));
    if limit.current.is_some_and(|now| now < possible) {
        let raised = Rlimit { current: Some(possible), maximum: limit.maximum };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!(%error, "the limit of open files could not be raised");
        }
    }
    if possible < wanted {
        tracing::warn!(
            possible,
            wanted,
            "fewer files may be open than all connections need; raise ulimit -Hn, or lower limits.connections"
        );
    }
}

fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

fn init_log(log: &Log) {
    let level = match log.level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    };
    // Of the libraries only what an operator must know: some would print requests, headers and all.
    let ours = Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_target(env!("CARGO_CRATE_NAME"), level);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let registry = tracing_subscriber::registry().with(ours);
    // Fails only if a log is set already, which then serves.
    let _ = match log.format {
        Format::Text => registry.with(lines).try_init(),
        Format::Json => registry.with(lines.json()).try_init(),
    };
}
