//! Which protocol a connection speaks, told by its first bytes.

use std::{io, time::Duration};

use lunasec_core::limits;
use rustix::net::{RecvFlags, recv};
use tokio::{
    io::Interest,
    net::UnixStream,
    time::{error::Elapsed, timeout},
};

use super::Paces;

/// What a client speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Protocol {
    /// Whatever does not begin like HTTP/2.
    Http1,
    /// With prior knowledge: there is no upgrade.
    Http2,
}

/// As many bytes of HTTP/2's preface as no method of HTTP/1.1 shares.
const MARK: &[u8] = b"PR";

/// Looks at a connection's first bytes and leaves them where they are, so that what reads them pays
/// nothing for the question. None if the client goes, or says nothing for too long.
pub(super) async fn of(stream: &UnixStream, paces: &Paces) -> Option<Protocol> {
    let mut crowd = paces.crowd.clone();
    loop {
        let told = tell(stream, paces.first_byte(), paces.head);
        tokio::select! {
            protocol = told => return protocol,
            // It has less time in a crowd than it had before.
            Ok(()) = crowd.changed() => {}
        }
    }
}

/// The same for a connection that is refused in any case.
pub(super) async fn of_refused(stream: &UnixStream) -> Option<Protocol> {
    tell(stream, limits::PROTOCOL_TIME, limits::PROTOCOL_TIME).await
}

async fn tell(stream: &UnixStream, first_byte: Duration, head: Duration) -> Option<Protocol> {
    match within(first_byte, look(stream, 1)).await?? {
        Look::Known(protocol) => Some(protocol),
        Look::Open => match within(head, look(stream, MARK.len())).await?? {
            Look::Known(protocol) => Some(protocol),
            Look::Open => Some(Protocol::Http1),
        },
    }
}

async fn within<T>(time: Duration, work: impl Future<Output = T>) -> Option<T> {
    timeout(time, work).await.map_err(|_: Elapsed| ()).ok()
}

enum Look {
    Known(Protocol),
    /// So few bytes that it may be either.
    Open,
}

/// Waits for that many bytes, or for the end of what comes. None without any.
async fn look(stream: &UnixStream, least: usize) -> Option<Look> {
    loop {
        let ready = stream.ready(Interest::READABLE).await.ok()?;
        let looked = stream.try_io(Interest::READABLE, || {
            let mut first = [0; MARK.len()];
            let (_, length) = recv(stream, &mut first, RecvFlags::PEEK)?;
            let first = &first[..length];
            match first {
                // Only new bytes, or the end, wake this up again.
                _ if (1..least).contains(&length) && !ready.is_read_closed() => {
                    Err(io::ErrorKind::WouldBlock.into())
                }
                _ => Ok(judge(first)),
            }
        });
        match looked {
            Ok(look) => return look,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return None,
        }
    }
}

fn judge(first: &[u8]) -> Option<Look> {
    match first {
        [] => None,
        _ if first == MARK => Some(Look::Known(Protocol::Http2)),
        _ if MARK.starts_with(first) => Some(Look::Open),
        _ => Some(Look::Known(Protocol::Http1)),
    }
}
