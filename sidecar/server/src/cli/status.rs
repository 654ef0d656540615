//! `lunasec status`: what a running sidecar says of itself.

use std::process::ExitCode;

use lunasec_api::{Dependency, DependencyState};
use lunasec_client::Client;

use super::{FAILED, Outcome, SocketArgument, Stop};

/// Arguments of `lunasec status`.
#[derive(clap::Args)]
pub(super) struct Status {
    #[command(flatten)]
    sidecar: SocketArgument,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
}

impl Status {
    /// Exits with 1 when there is no sidecar, and with 0 however it is.
    pub(super) async fn run(self) -> Outcome {
        let client = Client::new(&self.sidecar.socket);
        let status = client.status().await.map_err(|error| Stop::new(FAILED, error))?;
        if self.json {
            let text = serde_json::to_string_pretty(&status);
            println!("{}", text.map_err(|error| Stop::new(FAILED, error))?);
            return Ok(ExitCode::SUCCESS);
        }
        println!("lunasec {}, up for {} s", status.version, status.uptime_seconds);
        print_dependency("storage", &status.dependencies.storage);
        print_dependency("keys", &status.dependencies.keys);
        println!("caches   {} data keys", status.caches.data_keys);
        println!("         {} idempotency keys", status.caches.idempotency_keys);
        println!("journal  {} pending", status.journal.pending);
        Ok(ExitCode::SUCCESS)
    }
}

fn print_dependency(name: &str, dependency: &Dependency) {
    let state = match dependency.state {
        DependencyState::Up => "up",
        DependencyState::Degraded => "degraded",
        DependencyState::Down => "down",
    };
    let reason = dependency.reason.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
    println!("{name:<8} {state} since {}{reason}", dependency.since);
}
