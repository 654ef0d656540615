//! What an API server is to the webhook: it trusts the `caBundle`, and the name of the Service.

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    Request,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::Turned;

pub struct Caller {
    sender: SendRequest<Full<Bytes>>,
    /// What was served, as DER.
    pub leaf: Vec<u8>,
}

/// A TLS connection that trusts only this bundle.
pub async fn connect(
    address: SocketAddr,
    bundle: &str,
    clock: &Turned,
    protocols: &[&str],
) -> Result<TlsStream<TcpStream>, std::io::Error> {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
        roots.add(root.unwrap()).unwrap();
    }
    // The time of the tests' clock is not the machine's.
    let (provider, time) = (rustls::crypto::ring::default_provider(), Arc::new(clock.clone()));
    let mut config = ClientConfig::builder_with_details(Arc::new(provider), time)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|it| it.as_bytes().to_vec()).collect();
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from("lunasec-injector.lunasec.svc").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

impl Caller {
    pub async fn new(address: SocketAddr, bundle: &str, clock: &Turned) -> Result<Self, String> {
        let stream =
            connect(address, bundle, clock, &[]).await.map_err(|error| error.to_string())?;
        let leaf = stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        tokio::spawn(connection);
        Ok(Self { sender, leaf })
    }

    pub async fn send(
        &mut self,
        method: &str,
        path: &str,
        body: Bytes,
    ) -> Result<(u16, Bytes), String> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "lunasec-injector.lunasec.svc")
            .header("content-type", "application/json")
            .body(Full::new(body))
            .unwrap();
        self.sender.ready().await.map_err(|error| error.to_string())?;
        let response =
            self.sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = response.status().as_u16();
        let body =
            response.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
        Ok((status, body))
    }

    /// Asks about a review; a reply that is none is an error.
    pub async fn ask(&mut self, review: &Bytes) -> Result<Value, String> {
        let (status, body) = self.send("POST", "/mutate", review.clone()).await?;
        if status != 200 {
            return Err(format!("{status}: {}", String::from_utf8_lossy(&body)));
        }
        serde_json::from_slice(&body).map_err(|error| error.to_string())
    }
}

/// A review of `tests/reviews`.
pub fn review(name: &str) -> Bytes {
    let path = format!("{}/tests/reviews/{name}.json", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(path).unwrap().into()
}
