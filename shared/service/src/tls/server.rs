use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use rustls_pki_types::CertificateDer;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};

use super::pem::{authorities, chain, key, provider};
use crate::reloaded::{Contents, Reloaded};

/// Settings of a listener's TLS.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Security")]
pub struct TlsArgs {
    /// Certificate in PEM, and those that lead to its authority: connections then need TLS. Read again whenever it changes
    #[arg(long, env = "COGWHEEL_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// Its private key in PEM
    #[arg(long, env = "COGWHEEL_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// Authorities in PEM, of which a client then needs a certificate (mutual TLS)
    #[arg(long, env = "COGWHEEL_TLS_CLIENT_CA", value_name = "FILE")]
    pub tls_client_ca: Option<PathBuf>,
}

/// A listener's certificate, key and authorities, as their files are now.
pub(crate) type ServerTls = Reloaded<ServerConfig>;

impl TlsArgs {
    /// Reads the files; `None` where there is to be no TLS.
    ///
    /// # Errors
    /// What is wrong with a file.
    pub(crate) fn open(&self) -> Result<Option<ServerTls>, String> {
        let (cert, key) = match (&self.tls_cert, &self.tls_key) {
            (Some(cert), Some(key)) => (cert, key),
            (None, None) if self.tls_client_ca.is_none() => return Ok(None),
            // Half of it must not be taken for none of it.
            _ => return Err("expected --tls-cert and --tls-key together".to_owned()),
        };
        let mut files = vec![cert.clone(), key.clone()];
        files.extend(self.tls_client_ca.clone());
        Reloaded::open("the listener's certificate", files, config).map(Some)
    }
}

fn config(files: &[Contents]) -> Result<ServerConfig, String> {
    let [certificate, private, client_ca @ ..] = files else {
        return Err("expected a certificate and a key".to_owned());
    };
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = match client_ca {
        [file, ..] => {
            let verifier =
                WebPkiClientVerifier::builder_with_provider(authorities(file)?, provider()).build();
            let path = file.path.display();
            builder.with_client_cert_verifier(verifier.map_err(|error| format!("{path}: {error}"))?)
        }
        [] => builder.with_no_client_auth(),
    };
    let mut config = builder
        .with_single_cert(chain(certificate)?, key(private)?)
        .map_err(|error| format!("{}: {error}", certificate.path.display()))?;
    if !client_ca.is_empty() {
        // A session that is taken up again would bring its client's certificate along, unverified, for as long as its ticket
        // is good, whatever became of the certificate.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    // Browsers without HTTP/2 are refused later, where there is no page.
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// The names that a client's certificate is for: DNS names and URIs. It has been verified.
pub(crate) fn names_of(certificate: Option<&CertificateDer<'_>>) -> Arc<[String]> {
    let parsed = certificate.and_then(|der| webpki::EndEntityCert::try_from(der).ok());
    let Some(certificate) = parsed else { return Arc::default() };
    let names = certificate.valid_dns_names().chain(certificate.valid_uri_names());
    names.map(str::to_owned).collect()
}
