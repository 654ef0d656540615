//! Who is at the other end of a connection.
//!
//! User and group decide, by the kernel's word at the time of the connect. The process decides nothing:
//! its number is for people, and may name another one by the time they look. So it is told only while
//! the very process that connected is alive, which its pidfd knows.

use std::{io, os::fd::OwnedFd};

use lunasec_core::policy::Caller;
use tokio::net::UnixStream;

use crate::platform;

/// The other end of a connection, for as long as that lasts.
pub(super) struct Peer {
    caller: Caller,
    /// None where the kernel has none, or no more of them.
    process: Option<OwnedFd>,
}

impl Peer {
    /// Asks the kernel.
    pub(super) fn of(stream: &UnixStream) -> io::Result<Self> {
        let credentials = stream.peer_cred()?;
        Ok(Self {
            caller: Caller {
                uid: credentials.uid(),
                gid: credentials.gid(),
                // One of another PID namespace has no number here.
                pid: credentials.pid().filter(|pid| *pid > 0),
            },
            process: platform::peer_process(stream),
        })
    }

    /// Who makes a request that begins now.
    pub(super) fn caller(&self) -> Caller {
        Caller { pid: self.caller.pid.filter(|_| self.is_alive()), ..self.caller }
    }

    /// Whether the process that connected still runs: only then nobody else has its number.
    fn is_alive(&self) -> bool {
        self.process.as_ref().is_some_and(platform::is_alive)
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::process::{Child, Command, Stdio};

    use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
    use tokio::net::UnixListener;

    use super::*;

    #[tokio::test]
    async fn the_caller_of_ones_own_connection() {
        let (one, _other) = UnixStream::pair().unwrap();
        let caller = Peer::of(&one).unwrap().caller();
        let own = rustix::process::getpid().as_raw_nonzero().get();
        assert_eq!(caller.pid, Some(own));
        assert_eq!(caller.uid, rustix::process::geteuid().as_raw());
    }

    /// A process that connects to a socket, and ends when its input does.
    fn connecting(socket: &std::path::Path) -> Child {
        let script = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); sys.stdin.read()";
        let mut python = Command::new("python3");
        python.args(["-c", script]).arg(socket).stdin(Stdio::piped());
        python.spawn().expect("python3 runs: install it")
    }

    #[tokio::test]
    async fn a_process_that_has_ended_is_not_named() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("s");
        let listener = UnixListener::bind(&socket).unwrap();
        let mut child = connecting(&socket);
        let (stream, _) = listener.accept().await.unwrap();
        let peer = Peer::of(&stream).unwrap();
        let alive = peer.caller();
        assert_eq!(alive.pid, i32::try_from(child.id()).ok());
        drop(child.stdin.take());
        // Not yet waited for, a zombie: its number is still its own, and yet nobody is there.
        let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(Pid::from_child(&child)), ended).unwrap();
        assert_eq!(peer.caller(), Caller { pid: None, ..alive });
        assert!(child.wait().unwrap().success());
        assert_eq!(peer.caller().pid, None);
        // Asked only now, there is nobody to be named either.
        assert_eq!(Peer::of(&stream).unwrap().caller(), Caller { pid: None, ..alive });
    }
}
