use std::sync::Arc;

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};

use crate::reloaded::Contents;

/// The certificates of a file: the owner's first, then those that lead to an authority.
pub(super) fn chain(file: &Contents) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&file.bytes).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        Ok(_) => Err(expected("certificates in PEM", "none", file)),
        Err(error) => Err(expected("certificates in PEM", error, file)),
    }
}

/// The private key of a file: PKCS #8, PKCS #1 or SEC 1.
pub(super) fn key(file: &Contents) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(&file.bytes)
        .map_err(|error| expected("a private key in PEM", error, file))
}

/// The authorities of a file.
pub(super) fn authorities(file: &Contents) -> Result<Arc<RootCertStore>, String> {
    let mut roots = RootCertStore::empty();
    for certificate in chain(file)? {
        let added = roots.add(certificate);
        added.map_err(|error| expected("an authority's certificates", error, file))?;
    }
    Ok(Arc::new(roots))
}

/// The cryptography of all TLS here.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn expected(what: &str, found: impl std::fmt::Display, file: &Contents) -> String {
    format!("{}: expected {what}, found {found}", file.path.display())
}
