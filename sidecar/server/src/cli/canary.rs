//! `lunasec canary`: tokens that nobody is given, so that whoever uses one has stolen it.

use std::process::ExitCode;

use lunasec_api::{CanaryRequest, Tokenized};
use lunasec_client::operator::{self, OperatorRoute};

use super::{FAILED, Outcome, SocketArgument, Stop, USAGE, context::client_at, print};

/// Arguments of `lunasec canary`.
#[derive(clap::Args)]
pub(super) struct Canary {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Mint a canary and print it: a token like any other, whose use is answered like an unknown one's and raises an alarm
    Create(Create),
}

#[derive(clap::Args)]
struct Create {
    #[command(flatten)]
    sidecar: SocketArgument,
    /// The namespace, instead of `default`
    #[arg(long)]
    namespace: Option<String>,
    /// What the alarm says of it, such as where you put it. It is sealed in the place of a value
    #[arg(long)]
    note: Option<String>,
    /// When a sweep removes it, such as 720h: for a canary among values that expire
    #[arg(long)]
    expires_in: Option<String>,
}

impl Canary {
    pub(super) async fn run(self) -> Outcome {
        let Command::Create(create) = self.command;
        create.run().await
    }
}

impl Create {
    async fn run(self) -> Outcome {
        let mut client = client_at(&self.sidecar.socket);
        if let Some(namespace) = &self.namespace {
            client = client.namespace(namespace);
        }
        let client = client.build().map_err(|error| Stop::new(USAGE, error.detail()))?;
        let request = CanaryRequest { note: self.note, expires_in: self.expires_in };
        let given = operator::post(&client, OperatorRoute::CanariesCreate, &request).await;
        let given: Tokenized<'static> = given.map_err(|error| Stop::new(FAILED, error))?;
        print(&format!("{}\n", given.token))?;
        Ok(ExitCode::SUCCESS)
    }
}
