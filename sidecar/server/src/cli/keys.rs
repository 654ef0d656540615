//! `lunasec keys`: what an operator does to the wrapped keys in the store, while sidecars run on it.

use std::{collections::BTreeSet, path::PathBuf, process::ExitCode, sync::Arc};

use lunasec_core::{ids::Namespace, limits};

use super::{FAILED, Outcome, START, Stop, USAGE, check, open, print, tell};
use crate::{
    config::Config,
    keys::{Keyring, Rewrapped},
    store::{Name, Store},
};

/// Arguments of `lunasec keys`.
#[derive(clap::Args)]
pub(super) struct Keys {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Make another data key for the current epoch; sidecars seal under it within 15 minutes
    Rotate(Rotate),
    /// Wrap every data key under the current wrapping key, so that an older one can be retired
    Rewrap(Rewrap),
}

/// Which store and keys.
#[derive(clap::Args)]
struct ConfigArgument {
    /// The configuration; an embedded store must not be in use by a sidecar
    #[arg(long, default_value = "lunasec.toml")]
    config: PathBuf,
}

#[derive(clap::Args)]
struct Rotate {
    #[command(flatten)]
    at: ConfigArgument,
    /// Only this namespace, and not every one that has keys
    #[arg(long)]
    namespace: Option<String>,
}

#[derive(clap::Args)]
struct Rewrap {
    #[command(flatten)]
    at: ConfigArgument,
}

impl Keys {
    pub(super) async fn run(self) -> Outcome {
        match self.command {
            Command::Rotate(command) => command.run().await,
            Command::Rewrap(command) => command.run().await,
        }
    }
}

/// An opened store with its keyring.
struct Opened {
    store: Arc<dyn Store>,
    keyring: Arc<Keyring>,
}

impl Opened {
    async fn of(config: &Config) -> Result<Self, Stop> {
        let failed = |error| Stop::new(START, error);
        open::assert_there(config)?;
        let opener = open::opener(config);
        let store = opener.store().await.map_err(failed)?;
        let wrapper = opener.wrapper(&*store).await.map_err(failed)?;
        let keyring = opener.plain_keyring(&store, wrapper);
        Ok(Self { store, keyring })
    }

    /// The names of all wrapped keys.
    async fn names(&self) -> Result<Vec<Name>, Stop> {
        let mut names: Vec<Name> = Vec::new();
        loop {
            let page = self.store.list(Name::KEYS, names.last(), limits::PAGE).await;
            let page = page.map_err(|error| Stop::new(FAILED, error))?;
            let full = page.len() == limits::PAGE;
            names.extend(page);
            if !full {
                return Ok(names);
            }
        }
    }
}

impl Rotate {
    async fn run(self) -> Outcome {
        let config = check::load(&self.at.config)?;
        let only = match &self.namespace {
            Some(name) => Some(Namespace::parse(name).map_err(|error| Stop::new(USAGE, error))?),
            None => None,
        };
        let opened = Opened::of(&config).await?;
        let namespaces: BTreeSet<_> = match only {
            Some(namespace) => [namespace].into(),
            None => opened.names().await?.iter().filter_map(Name::namespace).collect(),
        };
        for namespace in &namespaces {
            let id = opened.keyring.rotate(namespace).await;
            let id =
                id.map_err(|error| Stop::new(FAILED, format!("{}: {error}", namespace.as_str())))?;
            print(&format!("{}: data key {id} seals from now on\n", namespace.as_str()))?;
        }
        if namespaces.is_empty() {
            print("no namespace has a key yet; the first tokenize makes one\n")?;
        } else {
            print(&format!(
                "running sidecars take it up within {} minutes of their next tokenize; older keys go on opening\n",
                limits::KEY_REFRESH.as_secs() / 60
            ))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Rewrap {
    async fn run(self) -> Outcome {
        let opened = Opened::of(&check::load(&self.at.config)?).await?;
        let (mut moved, mut already, mut failed) = (0u64, 0u64, 0u64);
        let mut left = BTreeSet::new();
        for name in opened.names().await? {
            match opened.keyring.rewrap(&name).await {
                Ok(Rewrapped::Moved(from, to)) => {
                    moved += 1;
                    print(&format!("{name:?}: from {from} to {to}\n"))?;
                    left.insert(from);
                }
                Ok(Rewrapped::Already(_)) => already += 1,
                Err(error) => {
                    failed += 1;
                    tell(&format!("{name:?}: {error}\n"));
                }
            }
        }
        print(&format!(
            "rewrapped {moved} data keys, {already} were under the current key already\n"
        ))?;
        if failed > 0 {
            let words = format!(
                "{failed} data keys were left as they were; mend what is said above and run it again, and retire no key before"
            );
            return Err(Stop::new(FAILED, words));
        }
        for key in left {
            print(&format!(
                "nothing is wrapped under {key} any more; once every sidecar wraps under the new key, remove it from the configuration\n"
            ))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
