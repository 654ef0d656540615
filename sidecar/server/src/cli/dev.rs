//! `lunasec dev`: the same sidecar as in production, with nothing to configure.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use super::{Outcome, START, Stop, check, print, run};
use crate::{
    app::{Addresses, Start, free_admin_address},
    config::{Config, Keys, Storage},
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
    /// Make a new store although there is a key already
    #[arg(long)]
    new_store: bool,
}

const ADMIN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9464);

impl Dev {
    pub(super) fn run(self) -> Outcome {
        let found = self.dir.join("store.redb").exists();
        files::create_private_directory(&self.dir)
            .map_err(|error| Stop::new(START, format!("{}: {error}", self.dir.display())))?;
        let dir = self.dir.clone();
        let start = Start { new_store: self.new_store, ..Start::default() };
        let config = self.config(&check::variables())?;
        run::sidecar(config, start, None, |addresses| print_hello(addresses, &dir, found))
    }

    /// A configuration like any other, whose settings the same variables override.
    fn config(self, variables: &[(String, String)]) -> Result<Config, Stop> {
        let is_set = |name: &str| variables.iter().any(|(variable, _)| variable == name);
        let mut config = check::parse("the variables", LEAST, variables)?;
        if !is_set("LUNASEC_STORAGE__KIND") && !is_set("LUNASEC_STORAGE__PATH") {
            config.storage = Storage::Embedded { path: self.dir.join("store.redb") };
        }
        if !is_set("LUNASEC_KEYS__KIND") && !is_set("LUNASEC_KEYS__PATH") {
            config.keys = Keys::Local { path: self.dir.join("local.key") };
        }
        if !is_set("LUNASEC_DEGRADE__STATE_DIR") {
            config.degrade.state_dir = Some(self.dir.join("state"));
        }
        if !is_set("LUNASEC_LISTEN__SOCKET") || self.socket.is_some() {
            config.listen.socket = self.socket.unwrap_or_else(|| self.dir.join("lunasec.sock"));
        }
        if !is_set("LUNASEC_LISTEN__ADMIN") || self.admin.is_some() {
            config.listen.admin = Some(self.admin.unwrap_or_else(|| free_admin_address(ADMIN)));
        }
        Ok(config)
    }
}

/// What a configuration must say; the paths are put into the directory.
const LEAST: &str = r#"
[storage]
kind = "embedded"
path = "store.redb"
[keys]
kind = "local"
path = "local.key"
"#;

fn print_hello(addresses: &Addresses, dir: &Path, found: bool) -> Result<(), Stop> {
    let socket = addresses.socket.display();
    let admin = addresses.admin.map_or_else(|| "off".into(), |admin| format!("http://{admin}"));
    let what = if found { "found the store and key" } else { "made a new store and key" };
    print(&format!(
        "LunaSec sidecar {version}: {what} in {dir}

  socket   {socket}
  admin    {admin}/status  /metrics  /live  /ready

Try, in another terminal:

  curl --unix-socket {socket} -H 'content-type: application/json' \\
       -d '{{\"value\": \"4111 1111 1111 1111\"}}' http://localhost/v1/tokenize

Ctrl-C stops it; started again, it finds its tokens.
",
        version = env!("CARGO_PKG_VERSION"),
        dir = dir.display(),
    ))
}
