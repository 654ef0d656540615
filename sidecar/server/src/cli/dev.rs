//! `lunasec dev`: the same sidecar as in production, with nothing to configure.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use lunasec_core::limits as bounds;

use super::{Outcome, START, Stop, run};
use crate::{
    app::{Addresses, free_admin_address},
    config::{Config, Degrade, Format, Keys, Level, Limits, Listen, Log, Storage, Sweep},
    files,
};

/// Arguments of `lunasec dev`.
#[derive(clap::Args)]
pub(super) struct Dev {
    /// Where the store, the key and the socket are kept
    #[arg(long, default_value = ".lunasec")]
    dir: PathBuf,
    /// The socket, instead of lunasec.sock in that directory
    #[arg(long)]
    socket: Option<PathBuf>,
    /// The admin listener, instead of 127.0.0.1:9464 or, if that is taken, a free port
    #[arg(long)]
    admin: Option<SocketAddr>,
}

const ADMIN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9464);

impl Dev {
    pub(super) fn run(self) -> Outcome {
        let found = self.dir.join("store.redb").exists();
        files::create_private_directory(&self.dir)
            .map_err(|error| Stop::new(START, format!("{}: {error}", self.dir.display())))?;
        let dir = self.dir.clone();
        run::sidecar(self.config(), |addresses| print_hello(addresses, &dir, found))
    }

    fn config(self) -> Config {
        Config {
            listen: Listen {
                socket: self.socket.unwrap_or_else(|| self.dir.join("lunasec.sock")),
                mode: 0o660,
                group: None,
                admin: Some(self.admin.unwrap_or_else(|| free_admin_address(ADMIN))),
            },
            storage: Storage::Embedded { path: self.dir.join("store.redb") },
            keys: Keys::Local { path: self.dir.join("local.key") },
            degrade: Degrade { state_dir: Some(self.dir.join("state")) },
            limits: Limits::default(),
            log: Log { level: Level::Info, format: Format::Text },
            sweep: Sweep {
                expired_grace: bounds::EXPIRED_GRACE,
                tombstone_grace: bounds::TOMBSTONE_GRACE,
            },
        }
    }
}

fn print_hello(addresses: &Addresses, dir: &Path, found: bool) {
    let socket = addresses.socket.display();
    let admin = addresses.admin.map_or_else(|| "off".into(), |admin| format!("http://{admin}"));
    let what = if found { "found the store and key" } else { "made a new store and key" };
    println!(
        "LunaSec sidecar {version}: {what} in {dir}

  socket   {socket}
  admin    {admin}/status  /metrics  /live  /ready

Try, in another terminal:

  curl --unix-socket {socket} -H 'content-type: application/json' \\
       -d '{{\"value\": \"4111 1111 1111 1111\"}}' http://localhost/v1/tokenize

Ctrl-C stops it; started again, it finds its tokens.",
        version = env!("CARGO_PKG_VERSION"),
        dir = dir.display(),
    );
}
