//! `lunasec serve`: a sidecar with a configuration.

use std::path::PathBuf;

use super::{Outcome, check, print, run};

/// Arguments of `lunasec serve`.
#[derive(clap::Args)]
pub(super) struct Serve {
    /// The configuration
    #[arg(long, default_value = "lunasec.toml")]
    config: PathBuf,
    /// Make a new store although there is a key already
    #[arg(long)]
    new_store: bool,
}

impl Serve {
    pub(super) fn run(self) -> Outcome {
        let config = check::load(&self.config)?;
        let path = self.config;
        let again = move || check::load(&path);
        run::sidecar(config, self.new_store, Some(Box::new(again)), |addresses| {
            let admin = addresses.admin.map(|admin| format!("admin on http://{admin}\n"));
            let admin = admin.unwrap_or_default();
            print(&format!("serving on {}\n{admin}", addresses.socket.display()))
        })
    }
}
