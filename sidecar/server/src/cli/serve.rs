//! `lunasec serve`: a sidecar with a configuration.

use std::path::PathBuf;

use super::{Outcome, check, print, run, tell};
use crate::app::Start;

/// Arguments of `lunasec serve`.
#[derive(clap::Args)]
pub(super) struct Serve {
    /// The configuration
    #[arg(long, default_value = "lunasec.toml")]
    config: PathBuf,
    /// Make a new store although there is a key already
    #[arg(long)]
    new_store: bool,
    /// Replay the journal although it is older than degrade.journal_age: what was deleted elsewhere since may
    /// come back
    #[arg(long)]
    replay_stale_journal: bool,
}

impl Serve {
    pub(super) fn run(self) -> Outcome {
        let config = check::load(&self.config)?;
        let (file, path) = (self.config.clone(), self.config);
        let again = run::Again { file, read: Box::new(move || check::load(&path)) };
        let start =
            Start { new_store: self.new_store, replay_stale_journal: self.replay_stale_journal };
        let is_the_trails = config.audit.sink.to_stdout();
        run::sidecar(config, start, Some(again), |addresses| {
            let admin = addresses.admin.map(|admin| format!("admin on http://{admin}\n"));
            let admin = admin.unwrap_or_default();
            let words = format!("serving on {}\n{admin}", addresses.socket.display());
            // Standard output may be the audit trail's alone.
            if is_the_trails {
                tell(&words);
                return Ok(());
            }
            print(&words)
        })
    }
}
