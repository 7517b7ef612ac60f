use std::path::PathBuf;

use clap::Args;
use cogwheel_service::{Dialer, DialerSettings, Fatal, TokenSource};

/// How the stages are reached.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Security")]
pub struct StageLinkArgs {
    /// Authorities in PEM that stages at https:// addresses have their certificates from. Default: the system's
    #[arg(long, env = "COGWHEEL_STAGE_CA", value_name = "FILE")]
    pub stage_ca: Option<PathBuf>,
    /// Certificate in PEM that the stages are shown (mutual TLS)
    #[arg(long, env = "COGWHEEL_STAGE_CERT", value_name = "FILE")]
    pub stage_cert: Option<PathBuf>,
    /// Its private key in PEM
    #[arg(long, env = "COGWHEEL_STAGE_KEY", value_name = "FILE")]
    pub stage_key: Option<PathBuf>,
    /// File of the token that the stages are called with
    #[arg(long, env = "COGWHEEL_STAGE_TOKEN_FILE", value_name = "FILE")]
    pub stage_token_file: Option<PathBuf>,
}

impl StageLinkArgs {
    /// What makes channels to stages, of which one is at an https:// address where `secure`.
    ///
    /// # Errors
    /// What is wrong with a file: bad usage.
    pub(super) fn dialer(&self, secure: bool) -> Result<Dialer, Fatal> {
        if self.stage_cert.is_some() != self.stage_key.is_some() {
            return Err(Fatal::usage("expected --stage-cert and --stage-key together"));
        }
        let tls = [&self.stage_ca, &self.stage_cert];
        if !secure && tls.iter().any(|file| file.is_some()) {
            return Err(Fatal::usage(
                "expected https:// or dnss:// addresses of stages with --stage-ca or --stage-cert, found none",
            ));
        }
        if !secure && self.stage_token_file.is_some() {
            tracing::warn!(
                "stages are at http:// addresses: whoever can listen in reads the token"
            );
        }
        let settings = DialerSettings {
            ca: self.stage_ca.clone(),
            identity: self.stage_cert.clone().zip(self.stage_key.clone()),
            token: self.stage_token_file.clone().map(TokenSource::File),
        };
        Dialer::new(settings, secure)
    }
}
