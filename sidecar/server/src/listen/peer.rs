//! Who is at the other end of a connection.
//!
//! User and group decide, by the kernel's word at the time of the connect. The process decides nothing:
//! its number is for people. It is told only where the very process that connected was alive when its
//! connection was taken, which its pidfd knows: so nobody else had its number by then.
//!
//! In a user namespace, whoever is not mapped into it is shown under one and the same number, which may be a
//! client's too. That number says nothing then, and is nobody's.

use std::io;

use lunasec_core::policy::{Caller, NOBODY};
use tokio::net::UnixStream;

use crate::platform;

/// Asks the kernel.
pub(super) fn caller(stream: &UnixStream) -> io::Result<Caller> {
    let credentials = stream.peer_cred()?;
    // One of another PID namespace has no number here.
    let pid = credentials.pid().filter(|pid| *pid > 0);
    let alive =
        || platform::peer_process(stream).is_some_and(|process| platform::is_alive(&process));
    let (strange_uid, strange_gid) = platform::strangers();
    let known = |id: u32, strange: Option<u32>| if strange == Some(id) { NOBODY } else { id };
    Ok(Caller {
        uid: known(credentials.uid(), strange_uid),
        gid: known(credentials.gid(), strange_gid),
        pid: pid.filter(|_| alive()),
    })
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
        let caller = caller(&one).unwrap();
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
        let alive = caller(&stream).unwrap();
        assert_eq!(alive.pid, i32::try_from(child.id()).ok());
        drop(child.stdin.take());
        // Not yet waited for, a zombie: its number is still its own, and yet nobody is there.
        let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(Pid::from_child(&child)), ended).unwrap();
        assert_eq!(caller(&stream).unwrap(), Caller { pid: None, ..alive });
        assert!(child.wait().unwrap().success());
        assert_eq!(caller(&stream).unwrap(), Caller { pid: None, ..alive });
    }
}
