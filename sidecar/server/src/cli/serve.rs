//! `lunasec serve`: a sidecar with a configuration.

use std::path::PathBuf;

use super::{Outcome, check, run};

/// Arguments of `lunasec serve`.
#[derive(clap::Args)]
pub(super) struct Serve {
    /// The configuration
    #[arg(long, default_value = "lunasec.toml")]
    config: PathBuf,
}

impl Serve {
    pub(super) fn run(self) -> Outcome {
        let config = check::load(&self.config)?;
        run::sidecar(config, |addresses| {
            println!("serving on {}", addresses.socket.display());
            if let Some(admin) = addresses.admin {
                println!("admin on http://{admin}");
            }
        })
    }
}
