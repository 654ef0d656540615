//! The audit trail of this process, put together.

use std::{io, sync::Arc, thread::JoinHandle};

use lunasec_core::{audit::ChainId, limits::AUDIT_TIME};
use tokio::{sync::oneshot, time::timeout};

use super::StartError;
use crate::{
    audit::{
        Audit, Spool, anchor,
        sink::{self, Target},
        spool::Settings,
    },
    config::{Assurances, AuditSink, Config},
    env::{Clock, Entropy, random},
    store::Store,
    telemetry::{Dependency, Telemetry},
};

/// The spool, its sinks and its anchors.
pub(super) struct Recorder {
    spool: Arc<Spool>,
    /// How that is, and how its sinks are.
    dependencies: Vec<Arc<Dependency>>,
    sinks: Vec<JoinHandle<()>>,
    /// Tells who anchors the chain to come to an end.
    stop: oneshot::Sender<()>,
    anchors: tokio::task::JoinHandle<()>,
}

impl Recorder {
    /// As the configuration says; nothing where there is no audit.
    pub(super) fn open(
        config: &Config,
        telemetry: &Telemetry,
        clock: &Arc<dyn Clock>,
        entropy: &dyn Entropy,
        store: &Arc<dyn Store>,
    ) -> Result<Option<Self>, StartError> {
        let (audit, state_dir) = (&config.audit, config.degrade.state_dir.as_ref());
        let Some(state_dir) = state_dir.filter(|_| audit.sink != AuditSink::Off) else {
            return Ok(None);
        };
        let directory = state_dir.join("audit");
        let failed = |error: io::Error| StartError::State(directory.display().to_string(), error);
        let instance = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let bytes = audit.spool_bytes as u64;
        let settings = Settings { directory: directory.clone(), bytes, instance };
        let (chain, dependency) = (ChainId(random(entropy)?), telemetry.dependency("audit"));
        let spool = Spool::open(settings, chain, Arc::clone(clock), Arc::clone(&dependency))?;
        let file =
            audit.path.clone().map(|path| Target::File { path, rotate: audit.rotate_bytes as u64 });
        let stdout = audit.sink.to_stdout().then_some(Target::Stdout);
        // All are known before one of them begins: what it has taken may still be wanted by another.
        let targets: Vec<_> =
            file.into_iter().chain(stdout).map(|target| (spool.join(), target)).collect();
        let (mut sinks, mut dependencies) = (Vec::new(), vec![dependency]);
        for (number, target) in targets {
            let dependency = telemetry.dependency(target.dependency());
            let sink = sink::start(&spool, number, target, clock, Arc::clone(&dependency));
            sinks.push(sink.map_err(failed)?);
            dependencies.push(dependency);
        }
        let (stop, stopped) = oneshot::channel();
        let stopped = async {
            let _ = stopped.await;
        };
        let (anchored, store) = (Arc::clone(&spool), Arc::clone(store));
        let anchors = tokio::spawn(anchor::run(anchored, store, Arc::clone(clock), stopped));
        Ok(Some(Self { spool, dependencies, sinks, stop, anchors }))
    }

    /// How its spool is, and behind that how its sinks are.
    pub(super) fn dependencies(&self) -> Vec<Arc<Dependency>> {
        self.dependencies.clone()
    }

    /// What requests are audited with.
    pub(super) fn audit(&self, assurances: Assurances, clock: &Arc<dyn Clock>) -> Audit {
        Audit::new(Arc::clone(&self.spool), assurances, Arc::clone(clock))
    }

    /// Writes what waits, anchors the end of the chain, and lets the sinks take what they take in time.
    pub(super) async fn end(self) {
        let Self { spool, sinks, stop, anchors, .. } = self;
        let ending = tokio::task::spawn_blocking(move || spool.end());
        let ended = async {
            let _ = ending.await;
            let _ = stop.send(());
            let taken = tokio::task::spawn_blocking(|| {
                sinks.into_iter().for_each(|sink| drop(sink.join()));
            });
            tokio::join!(timeout(AUDIT_TIME, anchors), timeout(AUDIT_TIME, taken))
        };
        match timeout(AUDIT_TIME, ended).await {
            Ok((Ok(_), Ok(_))) => {}
            Ok((Err(_), Ok(_))) => tracing::warn!(
                "storage has not taken all of the audit trail's anchors; the next start goes on with them"
            ),
            _ => tracing::warn!(
                "the audit trail's sinks have not taken all; the next start goes on with it"
            ),
        }
    }
}
