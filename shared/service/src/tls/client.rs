use std::path::PathBuf;

use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio_rustls::rustls::ClientConfig;

use super::pem::{authorities, chain, key, provider};
use crate::reloaded::{Contents, Reloaded};

/// Whom a client believes and what it shows of itself, as the files are now.
pub(crate) type ClientTls = Reloaded<ClientConfig>;

/// Reads the files: authorities, in place of the system's, and a certificate with its key.
///
/// # Errors
/// What is wrong with a file.
pub(crate) fn client_tls(
    ca: Option<PathBuf>,
    identity: Option<(PathBuf, PathBuf)>,
) -> Result<ClientTls, String> {
    let (has_ca, has_identity) = (ca.is_some(), identity.is_some());
    let files = ca.into_iter().chain(identity.into_iter().flat_map(|(cert, key)| [cert, key]));
    Reloaded::open("the client's certificate", files.collect(), move |files| {
        let (ca, identity) = files.split_at(usize::from(has_ca));
        config(ca.first(), has_identity.then_some(identity))
    })
}

fn config(ca: Option<&Contents>, identity: Option<&[Contents]>) -> Result<ClientConfig, String> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = match ca {
        Some(file) => builder.with_root_certificates(authorities(file)?),
        None => builder.with_platform_verifier().map_err(|error| error.to_string())?,
    };
    let mut config = match identity {
        Some([certificate, private]) => builder
            .with_client_auth_cert(chain(certificate)?, key(private)?)
            .map_err(|error| format!("{}: {error}", certificate.path.display()))?,
        _ => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}
