//! Where a command asks, for whom, and what for. A JWT comes from a file only: arguments are seen by
//! every user of the machine.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    time::Duration,
};

use lunasec_client::{Builder, Client, Error};
use lunasec_core::{ids::Session, limits};
use sha2::{Digest, Sha256};

use super::{SocketArgument, Stop, USAGE};

/// What a JWT's file may have: the JWT, and how its line ends.
const JWT_FILE_BYTES: usize = limits::JWT_BYTES + 2;

/// Arguments of every command that speaks for somebody.
#[derive(clap::Args)]
pub(super) struct Context {
    #[command(flatten)]
    sidecar: SocketArgument,
    /// The namespace, instead of `default`
    #[arg(long)]
    namespace: Option<String>,
    /// The end user's session, where the policy asks for a grant. Other users of the machine see
    /// arguments, not variables
    #[arg(long, env = "LUNASEC_SESSION", hide_env_values = true)]
    session: Option<String>,
    /// A file with the end user's JWT, where issuers are configured
    #[arg(long, value_name = "PATH")]
    jwt_file: Option<PathBuf>,
    /// What values are revealed for, where the policy asks for it
    #[arg(long, env = "LUNASEC_PURPOSE", hide_env_values = true)]
    purpose: Option<String>,
}

/// A client that asks once: a person sees at once that nobody answers, and files are tried again by rules of their own.
pub(super) fn client_at(socket: &Path) -> Builder {
    Client::builder()
        .socket(socket)
        .attempts(1)
        .start_deadline(Duration::ZERO)
        .restart_grace(Duration::ZERO)
}

/// A client that says all of it.
pub(super) struct Spoken {
    pub(super) client: Client,
    /// Tells sessions apart and shows none.
    pub(super) session: Option<[u8; 32]>,
}

impl Context {
    /// Refuses what no call could say.
    pub(super) fn speak(&self) -> Result<Spoken, Stop> {
        let jwt = self.jwt()?;
        let mut client = client_at(&self.sidecar.socket);
        if let Some(namespace) = &self.namespace {
            client = client.namespace(namespace);
        }
        if let Some(jwt) = &jwt {
            client = client.jwt(jwt);
        }
        if let Some(purpose) = &self.purpose {
            client = client.purpose(purpose);
        }
        if let Some(session) = &self.session {
            Session::parse(session).map_err(|error| Stop::new(USAGE, error))?;
        }
        let client = self.of_session(client).map_err(|error| Stop::new(USAGE, error.detail()))?;
        Ok(Spoken { client, session: self.digest(jwt.as_deref()) })
    }

    fn of_session(&self, client: Builder) -> Result<Client, Error> {
        let client = client.build()?;
        match &self.session {
            Some(session) => Ok((*client.for_session(session)?).clone()),
            None => Ok(client),
        }
    }

    /// The socket, wherever the same command is run again.
    pub(super) fn socket(&self) -> PathBuf {
        let socket = &self.sidecar.socket;
        std::path::absolute(socket).unwrap_or_else(|_| socket.clone())
    }

    pub(super) fn namespace(&self) -> Option<String> {
        self.namespace.clone()
    }

    /// Of the session that is named, else of the JWT. One that is named stays the same under the user's
    /// next JWT, and the sidecar refuses one of another session, unless it trusts the caller with any.
    fn digest(&self, jwt: Option<&str>) -> Option<[u8; 32]> {
        let (kind, text) = match (&self.session, jwt) {
            (Some(session), _) => ("session", session.as_str()),
            (None, Some(jwt)) => ("jwt", jwt),
            (None, None) => return None,
        };
        let digest = Sha256::new().chain_update(kind).chain_update([0]).chain_update(text);
        Some(digest.finalize().into())
    }

    /// Errors name no path: it may be the JWT, given by mistake.
    fn jwt(&self) -> Result<Option<String>, Stop> {
        let Some(path) = &self.jwt_file else { return Ok(None) };
        let refused = |why: &str| Err(Stop::new(USAGE, format!("the file of --jwt-file {why}")));
        let mut text = Vec::new();
        // One byte more than it may have shows that there are more.
        let most = JWT_FILE_BYTES as u64 + 1;
        let read = File::open(path).and_then(|file| file.take(most).read_to_end(&mut text));
        if let Err(error) = read {
            return refused(&format!("cannot be read: {error}; give the path of one that can"));
        }
        if text.len() > JWT_FILE_BYTES {
            return refused("is too large: a JWT has at most 12 KiB");
        }
        let jwt = text.trim_ascii();
        if jwt.is_empty() {
            return refused("is empty; write the user's JWT to it");
        }
        match str::from_utf8(jwt) {
            Ok(text) if jwt.iter().all(u8::is_ascii_graphic) => Ok(Some(text.to_owned())),
            _ => refused("holds something else than one JWT: a line of base64url with two dots"),
        }
    }
}
