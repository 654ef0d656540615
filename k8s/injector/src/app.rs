//! Puts the parts together, runs them, and ends them in order.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use kube::Client;
use tokio::{net::TcpListener, sync::watch};

use crate::{
    admin,
    certificates::Served,
    clock::Clock,
    keeper::Keeper,
    reconciler::Reconciler,
    server::{self, Webhook},
    settings::Settings,
    telemetry::Telemetry,
};

/// Who and where this replica is.
#[derive(Clone, Debug)]
pub struct Replica {
    /// The namespace of the release.
    pub namespace: String,
    /// A name that no other replica has, such as the pod's.
    pub identity: String,
}

/// Where it listens, with the ports that were free.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// The webhook.
    pub webhook: SocketAddr,
    /// Health and metrics.
    pub admin: SocketAddr,
}

/// Why it could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address is taken, or not allowed.
    #[error("{0} = \"{1}\": {2}")]
    Listen(&'static str, SocketAddr, io::Error),
    /// A mistake of ours.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

/// Serves until `stop` is done, and then for as long as the Service may still send.
pub async fn run(
    settings: Arc<Settings>,
    client: Client,
    replica: Replica,
    clock: Arc<dyn Clock>,
    stop: impl Future<Output = ()>,
    announce: impl FnOnce(Addresses),
) -> Result<(), StartError> {
    let telemetry = Arc::new(Telemetry::new(Arc::clone(&clock)));
    let served = Arc::new(Served::default());
    let tls = server::tls(Arc::<Served>::clone(&served))?;
    let webhook_listener = listen("webhook.listen", settings.webhook.listen).await?;
    let admin_listener = listen("admin.listen", settings.admin).await?;
    if let (Ok(webhook), Ok(admin)) = (webhook_listener.local_addr(), admin_listener.local_addr()) {
        announce(Addresses { webhook, admin });
    }
    let (says, stopped) = watch::channel(false);
    let keeper = {
        let (client, namespace) = (client.clone(), replica.namespace.clone());
        let (settings, clock, telemetry) =
            (Arc::clone(&settings), Arc::clone(&clock), Arc::clone(&telemetry));
        let make = move || {
            let (settings, clock) = (Arc::clone(&settings), Arc::clone(&clock));
            let (served, telemetry) = (Arc::clone(&served), Arc::clone(&telemetry));
            Keeper::new(&client, &namespace, settings, clock, served, telemetry).run()
        };
        tokio::spawn(for_ever("certificates", make))
    };
    let reconciler = {
        let (settings, clock, telemetry) =
            (Arc::clone(&settings), Arc::clone(&clock), Arc::clone(&telemetry));
        let stopped = stopped.clone();
        tokio::spawn(for_ever("missed pods", move || {
            let (settings, clock) = (Arc::clone(&settings), Arc::clone(&clock));
            let Replica { namespace, identity } = replica.clone();
            Reconciler::new(
                client.clone(),
                namespace,
                identity,
                settings,
                clock,
                Arc::clone(&telemetry),
            )
            .run(stopped.clone())
        }))
    };
    let admin = tokio::spawn(admin::serve(admin_listener, Arc::clone(&telemetry)));
    let webhook = Arc::new(Webhook::new(Arc::clone(&settings), Arc::clone(&telemetry)));
    let (last, at_last) = watch::channel(false);
    let server = tokio::spawn(server::serve(webhook_listener, tls, webhook, at_last));

    stop.await;
    tracing::info!(
        "stopping: not ready any more, and answering on while the Service stops sending"
    );
    telemetry.stop();
    let _ = says.send(true);
    tokio::time::sleep(settings.webhook.drain_time).await;
    let _ = last.send(true);
    let _ = server.await;
    // It has let go of the Lease long since.
    let _ = tokio::time::timeout(Duration::from_secs(3), reconciler).await;
    keeper.abort();
    admin.abort();
    tracing::info!("stopped");
    Ok(())
}

async fn listen(field: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    first_that_can(address, TcpListener::bind)
        .await
        .map_err(|error| StartError::Listen(field, address, error))
}

/// `[::]` is every address of the machine, also where its kernel has no IPv6.
async fn first_that_can<T, F: Future<Output = io::Result<T>>>(
    address: SocketAddr,
    bind: impl Fn(SocketAddr) -> F,
) -> io::Result<T> {
    match bind(address).await {
        Err(error) if address.ip() == Ipv6Addr::UNSPECIFIED && is_about_the_family(&error) => {
            bind((Ipv4Addr::UNSPECIFIED, address.port()).into()).await.map_err(|_| error)
        }
        bound => bound,
    }
}

/// Of the address family, there is no kind in common: all that is not about the port.
fn is_about_the_family(error: &io::Error) -> bool {
    !matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied)
}

/// Begins a part again that panicked; what it knew it learns again.
async fn for_ever<F: Future<Output = ()> + Send + 'static>(
    part: &'static str,
    make: impl Fn() -> F,
) {
    loop {
        match tokio::spawn(make()).await {
            Ok(()) => return,
            Err(error) if error.is_panic() => {
                tracing::error!(
                    part,
                    "a part of the injector panicked and is begun again; please report it"
                );
                tokio::time::sleep(Duration::from_secs(5)).await;
            }
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::ready, io::ErrorKind};

    use super::*;

    #[tokio::test]
    async fn every_address_is_that_of_both_families() {
        let listener = listen("x", "[::]:0".parse().unwrap()).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (connected, accepted) = tokio::join!(
            tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)),
            listener.accept()
        );
        assert!(connected.is_ok() && accepted.is_ok());
    }

    #[tokio::test]
    async fn a_kernel_without_ipv6_listens_on_the_other_and_a_port_that_is_taken_is_told() {
        let every: SocketAddr = "[::]:8443".parse().unwrap();
        let without = |at: SocketAddr| {
            ready(if at.is_ipv4() { Ok(at) } else { Err(io::Error::from_raw_os_error(97)) })
        };
        assert_eq!(first_that_can(every, without).await.unwrap().to_string(), "0.0.0.0:8443");
        assert!(
            first_that_can("[::1]:8443".parse().unwrap(), without).await.is_err(),
            "that one was meant"
        );
        let taken = |at: SocketAddr| {
            ready(if at.is_ipv4() { Ok(at) } else { Err(ErrorKind::AddrInUse.into()) })
        };
        assert_eq!(first_that_can(every, taken).await.unwrap_err().kind(), ErrorKind::AddrInUse);
    }
}
