//! Whether what a Secret holds is whole. Somebody may have written to it, and what is damaged here is found out by API
//! servers otherwise, which then refuse every pod.

use std::{sync::Arc, time::Duration};

use rcgen::{KeyPair, PublicKeyData};
use rustls::{
    RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};

use super::{Authority, Held, Unusable};

impl Held {
    /// Each authority has its certificate and the key to it, and one of them signed what is served.
    pub fn check(&self) -> Result<(), Unusable> {
        let mut roots = RootCertStore::empty();
        for authority in &self.authorities {
            trust(&mut roots, authority)?;
        }
        let certified = self.certified()?;
        let unusable = |error: &dyn std::fmt::Display| Unusable(error.to_string());
        let leaf = certified.cert.first().ok_or_else(|| unusable(&"there is none"))?;
        let name = self.serving.names.first().cloned().unwrap_or_default();
        let name = ServerName::try_from(name).map_err(|error| unusable(&error))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|error| unusable(&error))?;
        // When it was signed; whether it is good now is another question.
        let signed = UnixTime::since_unix_epoch(Duration::from_secs(self.serving.made));
        let verified = verifier.verify_server_cert(leaf, &[], &name, &[], signed);
        verified.map(|_| ()).map_err(|error| unusable(&error))
    }
}

fn trust(roots: &mut RootCertStore, authority: &Authority) -> Result<(), Unusable> {
    let unusable = |error: &dyn std::fmt::Display| Unusable(format!("an authority: {error}"));
    let certificate = CertificateDer::from_pem_slice(authority.certificate.as_bytes())
        .map_err(|error| unusable(&error))?;
    roots.add(certificate).map_err(|error| unusable(&error))?;
    // Its words could show what is in the Secret.
    let key = KeyPair::from_pem(&authority.key).map_err(|_| unusable(&"its key is none"))?;
    let added = roots.roots.last().map(|it| it.subject_public_key_info.as_ref());
    if added.is_none_or(|it| !it.ends_with(key.der_bytes())) {
        return Err(unusable(&"its key is that of another one"));
    }
    Ok(())
}
