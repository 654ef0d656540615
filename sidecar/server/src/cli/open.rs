//! What the commands share that work on a store themselves, beside the sidecars.

use std::sync::Arc;

use super::{START, Stop, USAGE};
use crate::{
    app::Opener,
    config::{Config, Storage},
    env::{SystemClock, SystemEntropy},
    store::Store,
    telemetry::Telemetry,
};

/// What opens this configuration's store and keys. What a sidecar keeps on its disk is that sidecar's, which may run.
pub(super) fn opener(config: &Config) -> Opener {
    let mut config = config.clone();
    config.degrade.disk_cache = false;
    let clock = Arc::new(SystemClock::default());
    let telemetry = Arc::new(Telemetry::new(clock.clone()));
    Opener::new(config, clock, Arc::new(SystemEntropy::default()), telemetry)
}

/// A command that looks for something must not make an empty store.
pub(super) fn assert_there(config: &Config) -> Result<(), Stop> {
    match &config.storage {
        Storage::Memory => {
            Err(Stop::new(USAGE, "a store in memory is another one in each process"))
        }
        Storage::Embedded { path } if !path.exists() => {
            Err(Stop::new(START, format!("there is no store at {}", path.display())))
        }
        Storage::Embedded { .. } | Storage::S3(_) => Ok(()),
    }
}

/// Opens a store that is there.
pub(super) async fn store(config: &Config) -> Result<Arc<dyn Store>, Stop> {
    assert_there(config)?;
    opener(config).store().await.map_err(|error| Stop::new(START, error))
}
