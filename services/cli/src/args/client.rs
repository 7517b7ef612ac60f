use std::path::PathBuf;

use clap::Args;
use cogwheel_service::{Address, Dialer, DialerSettings, Fatal, TokenSource};

use crate::client::Server;

/// The variable of the token, where no file is named.
const TOKEN: &str = "COGWHEEL_TOKEN";

/// How a server is reached.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Server's security")]
pub struct ClientArgs {
    /// Authorities in PEM that a server at an https:// address has its certificate from [default: the system's]
    #[arg(long, value_name = "FILE", requires = "endpoint")]
    pub tls_ca: Option<PathBuf>,
    /// Certificate in PEM that the server is shown (mutual TLS)
    #[arg(long, value_name = "FILE", requires = "endpoint", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Its private key in PEM
    #[arg(long, value_name = "FILE", requires = "endpoint", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// File of the token that the server is called with [default: the token in COGWHEEL_TOKEN, if it is set]
    #[arg(long, value_name = "FILE", requires = "endpoint")]
    pub token_file: Option<PathBuf>,
}

impl ClientArgs {
    /// The server at `address`.
    ///
    /// # Errors
    /// What is wrong with a file or a token.
    pub fn server(self, address: Address) -> Result<Server, Fatal> {
        let token = match self.token_file {
            Some(path) => Some(TokenSource::File(path)),
            None => {
                let text = std::env::var_os(TOKEN).filter(|text| !text.is_empty());
                text.map(|text| TokenSource::Text(text.to_string_lossy().into_owned()))
            }
        };
        if !address.is_secure() && (self.tls_ca.is_some() || self.tls_cert.is_some()) {
            let expected = "expected an https:// address with --tls-ca or --tls-cert";
            return Err(Fatal::usage(format!("--endpoint: {expected}, found {address}")));
        }
        let identity = self.tls_cert.zip(self.tls_key);
        let settings = DialerSettings { ca: self.tls_ca, identity, token };
        let dialer = Dialer::new(settings, address.is_secure())?;
        Ok(Server::at(address, &dialer))
    }
}
