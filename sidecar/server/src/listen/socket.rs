//! The socket's file: taken over when its owner is gone, never when it lives.

use std::{
    fs::{self, File, OpenOptions, Permissions, TryLockError},
    future::pending,
    io,
    os::unix::{
        fs::{FileTypeExt, OpenOptionsExt, PermissionsExt, chown},
        net::UnixStream as StdUnixStream,
    },
    path::{Path, PathBuf},
};

use lunasec_core::limits;
use tokio::net::{UnixListener, UnixStream};

use crate::files;

/// Why the socket could not be bound.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Longer than the kernel takes.
    #[error(
        "the socket's path {path} has {length} bytes, and the system takes {most}; choose a shorter one with --socket or listen.socket"
    )]
    TooLong {
        /// As configured.
        path: String,
        /// Of the path.
        length: usize,
        /// The system's bound.
        most: usize,
    },
    /// Another process answers there.
    #[error(
        "another process is listening on {0}; stop it, or choose another path with --socket or listen.socket"
    )]
    Live(String),
    /// Something that is not a socket lies there.
    #[error("{0} is there and is no socket; remove it yourself if you do not need it")]
    NotASocket(String),
    /// The group is not on this machine.
    #[error("there is no group {0} on this machine; create it, or name another in listen.group")]
    NoGroup(String),
    /// The file system refuses.
    #[error("the socket {0} cannot be bound: {1}")]
    Io(String, io::Error),
}

/// A bound socket; unlinked when closed or dropped.
pub struct Bound {
    /// None once closed.
    listener: Option<UnixListener>,
    path: PathBuf,
    /// Held as long as the socket is ours: two starts at once cannot both take a stale one over.
    _lock: File,
}

impl Bound {
    /// Binds `path` with the permission bits `mode`, for `group` if there is one.
    pub fn bind(path: &Path, mode: u32, group: Option<&str>) -> Result<Self, SocketError> {
        let name = || path.display().to_string();
        let failed = |error| SocketError::Io(name(), error);
        let length = path.as_os_str().len();
        if length > limits::SOCKET_PATH_BYTES {
            let most = limits::SOCKET_PATH_BYTES;
            return Err(SocketError::TooLong { path: name(), length, most });
        }
        let group = match group {
            Some(group) => {
                Some(group_id(group).ok_or_else(|| SocketError::NoGroup(group.to_owned()))?)
            }
            None => None,
        };
        prepare_directory(path, group).map_err(failed)?;
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(files::with_suffix(path, ".lock"))
            .map_err(failed)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => SocketError::Live(name()),
            TryLockError::Error(error) => failed(error),
        })?;
        remove_stale(path)?;
        // The umask keeps others out between bind and chmod; see `main`.
        let listener = UnixListener::bind(path).map_err(failed)?;
        if let Some(group) = group {
            chown(path, None, Some(group)).map_err(failed)?;
        }
        fs::set_permissions(path, Permissions::from_mode(mode)).map_err(failed)?;
        Ok(Self { listener: Some(listener), path: path.to_owned(), _lock: lock })
    }

    /// The next connection; never one once closed.
    pub(super) async fn accept(&self) -> io::Result<UnixStream> {
        match &self.listener {
            Some(listener) => Ok(listener.accept().await?.0),
            None => pending().await,
        }
    }

    /// Refuses whoever comes from now on, instead of letting them wait for nothing. The path stays
    /// ours until this is dropped.
    pub fn close(&mut self) {
        if self.listener.take().is_some() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        self.close();
    }
}

/// Makes the socket's directory where there is none: private, but for the group that is let in.
pub fn prepare_directory(socket: &Path, group: Option<u32>) -> io::Result<()> {
    let directory = files::parent(socket);
    if directory.exists() {
        return Ok(());
    }
    files::create_private_directory(directory)?;
    let Some(group) = group else { return Ok(()) };
    let given = chown(directory, None, Some(group))
        .and_then(|()| fs::set_permissions(directory, Permissions::from_mode(0o710)));
    if given.is_err() {
        // Found the next time, it would be taken for one that somebody meant to be as it is.
        let _ = fs::remove_dir(directory);
    }
    given
}

/// Removes a socket that nobody listens on; whoever does may be no sidecar and know no lock.
fn remove_stale(path: &Path) -> Result<(), SocketError> {
    let name = || path.display().to_string();
    let kind = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(SocketError::Io(name(), error)),
        Ok(metadata) => metadata.file_type(),
    };
    if !kind.is_socket() {
        return Err(SocketError::NotASocket(name()));
    }
    match StdUnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(|error| SocketError::Io(name(), error))
        }
        // Anything else, a full backlog too, may be a living listener.
        _ => Err(SocketError::Live(name())),
    }
}

/// A group by its number, or by its name in /etc/group.
pub fn group_id(group: &str) -> Option<u32> {
    if let Ok(id) = group.parse() {
        return Some(id);
    }
    let groups = fs::read_to_string("/etc/group").ok()?;
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(group)).then(|| fields.nth(1)?.parse().ok()).flatten()
    })
}
