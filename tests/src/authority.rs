//! A certificate authority made for the test, and servers that it vouches for.

use std::{net::TcpStream, path::Path, sync::Arc, time::SystemTime};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    IsCa, KeyPair,
};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    crypto::ring,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};

/// See the module.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// What a server shows.
#[derive(Clone)]
pub struct Identity(Arc<ServerConfig>);

impl Authority {
    /// With a key of its own.
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Writes its certificate, for whoever is to trust it.
    pub fn write(&self, path: &Path) {
        std::fs::write(path, self.0.pem()).unwrap();
    }

    /// Vouches for a server under this name or address.
    pub fn identity(&self, name: &str) -> Identity {
        self.identity_until(name, None)
    }

    /// The same, until a time.
    pub fn identity_until(&self, name: &str, end: Option<SystemTime>) -> Identity {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        if let Some(end) = end {
            params.not_after = end.into();
        }
        let key = KeyPair::generate().unwrap();
        let certificate: Certificate = params.signed_by(&key, &self.0).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        Identity(Arc::new(config))
    }
}

impl Identity {
    /// Speaks TLS over an accepted connection; what is wrong with it is seen by the first read.
    pub fn accept(&self, stream: TcpStream) -> StreamOwned<ServerConnection, TcpStream> {
        StreamOwned::new(ServerConnection::new(Arc::clone(&self.0)).unwrap(), stream)
    }
}
