//! `lunasec-injector serve`.

use std::{io, sync::Arc};

use kube::{Client, Config};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::{
    Layer,
    filter::{LevelFilter, Targets},
    fmt,
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use super::{FAILED, START, Stop, print};
use crate::{
    app::{self, Replica},
    clock::System,
    settings::{Level, Log, Settings},
};

pub(super) fn run(settings: Arc<Settings>) -> Result<(), Stop> {
    init_log(&settings.log);
    let failed = |error: io::Error| Stop::new(FAILED, error.to_string());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // As much as the first thread has, for the one that decides.
        .thread_stack_size(8 << 20)
        .build()
        .map_err(failed)?;
    runtime.block_on(async move {
        // Caught from here on: a stop during the start is a clean one too.
        let stop = stop_signal().map_err(failed)?;
        // kube asks for it, and there is one only.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let config = Config::infer().await.map_err(|error| {
            Stop::new(
                START,
                format!("no cluster is known: run it in a pod, or set KUBECONFIG: {error}"),
            )
        })?;
        let replica = replica(&config);
        let client =
            Client::try_from(config).map_err(|error| Stop::new(START, error.to_string()))?;
        let announce = |addresses: app::Addresses| {
            let words = format!(
                "serving on https://{}/mutate\nadmin on http://{}\n",
                addresses.webhook, addresses.admin
            );
            let _ = print(words.as_bytes());
        };
        app::run(settings, client, replica, Arc::new(System), stop, announce)
            .await
            .map_err(|error| Stop::new(START, error.to_string()))
    })
}

/// A pod is told by its environment who it is; elsewhere there is one replica.
fn replica(config: &Config) -> Replica {
    let variable = |name: &str| std::env::var(name).ok().filter(|it| !it.is_empty());
    let namespace = variable("POD_NAMESPACE").unwrap_or_else(|| config.default_namespace.clone());
    let identity = variable("POD_NAME").or_else(|| variable("HOSTNAME"));
    let identity = identity.unwrap_or_else(|| format!("lunasec-injector-{}", std::process::id()));
    Replica { namespace, identity }
}

fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Lines go to standard error. Of other crates only what is wrong: they log requests, and those hold Secrets.
fn init_log(log: &Log) {
    let level = match log.level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    };
    let others = level.min(LevelFilter::WARN);
    let targets = Targets::new().with_target("lunasec_injector", level).with_default(others);
    let lines = fmt::layer().with_writer(io::stderr);
    let registry = tracing_subscriber::registry();
    if log.json {
        registry.with(lines.json().flatten_event(true).with_filter(targets)).init();
    } else {
        registry.with(lines.with_filter(targets)).init();
    }
}
