use std::fmt;
use std::str::FromStr;

use clap::Args;
use cogwheel_service::{Address, AddressError, Dialer, Fatal};

use super::StageLinkArgs;

/// Seconds between two looks at what a name stands for, unless the settings say otherwise.
const DNS_SECONDS: u64 = 5;
/// Seconds that a stage out of reach is waited for, unless the settings say otherwise: a model is loaded in less.
const STAGE_PATIENCE_SECONDS: u64 = 60;

/// Where the stages are.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Model and stages")]
pub struct StagesArgs {
    /// Where the text encoder is: its address, those of several replicas separated by commas, or dns://NAME:PORT
    /// (dnss:// with TLS) for all that a name stands for
    #[arg(
        long,
        env = "COGWHEEL_TEXT_ENCODER",
        value_name = "URL[,URL]...",
        value_delimiter = ',',
        required = true
    )]
    pub text_encoder: Vec<StageAddress>,
    /// Where the denoiser is, likewise
    #[arg(
        long,
        env = "COGWHEEL_DENOISER",
        value_name = "URL[,URL]...",
        value_delimiter = ',',
        required = true
    )]
    pub denoiser: Vec<StageAddress>,
    /// Where the vae is, likewise
    #[arg(
        long,
        env = "COGWHEEL_VAE",
        value_name = "URL[,URL]...",
        value_delimiter = ',',
        required = true
    )]
    pub vae: Vec<StageAddress>,
    /// Seconds after which a dns:// name is resolved again
    #[arg(long, env = "COGWHEEL_DNS_SECONDS", value_name = "SECONDS", default_value_t = DNS_SECONDS,
        value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub dns_seconds: u64,
    /// Seconds that a request waits for a stage of which no replica can be reached, e.g. while it restarts
    #[arg(long, env = "COGWHEEL_STAGE_PATIENCE_SECONDS", value_name = "SECONDS", default_value_t = STAGE_PATIENCE_SECONDS,
        value_parser = clap::value_parser!(u64).range(0..=86400))]
    pub stage_patience_seconds: u64,
    #[command(flatten)]
    /// How they are reached.
    pub links: StageLinkArgs,
}

impl StagesArgs {
    /// One replica of each, and the defaults of the flags.
    pub fn of(text_encoder: Address, denoiser: Address, vae: Address) -> Self {
        let one = |address| vec![StageAddress::One(address)];
        let (text_encoder, denoiser, vae) = (one(text_encoder), one(denoiser), one(vae));
        let (dns_seconds, stage_patience_seconds) = (DNS_SECONDS, STAGE_PATIENCE_SECONDS);
        let links = StageLinkArgs::default();
        Self { text_encoder, denoiser, vae, dns_seconds, stage_patience_seconds, links }
    }

    /// What makes channels to them.
    ///
    /// # Errors
    /// What is wrong with a file: bad usage.
    pub(crate) fn dialer(&self) -> Result<Dialer, Fatal> {
        let all = self.text_encoder.iter().chain(&self.denoiser).chain(&self.vae);
        self.links.dialer(all.into_iter().any(StageAddress::is_secure))
    }
}

/// Where a replica of a stage is, or all of them are.
#[derive(Clone, Debug)]
pub enum StageAddress {
    /// One replica, or a proxy before all of them.
    One(Address),
    /// `dns://NAME:PORT`, or `dnss://NAME:PORT` for TLS: a replica at each address that the name stands for.
    Name {
        /// Whether connections to it need TLS.
        secure: bool,
        /// The name.
        host: String,
        /// The port of each.
        port: u16,
    },
}

/// Why a stage's address cannot be used.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum StageAddressError {
    /// It names no replica.
    #[error(transparent)]
    One(#[from] AddressError),
    /// It is no name with a port.
    #[error("expected a name and a port such as dns://denoiser:50051, found '{0}'")]
    Name(String),
}

impl StageAddress {
    /// Whether connections to it need TLS.
    fn is_secure(&self) -> bool {
        match self {
            Self::One(address) => address.is_secure(),
            Self::Name { secure, .. } => *secure,
        }
    }
}

impl FromStr for StageAddress {
    type Err = StageAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (secure, name) = match (text.strip_prefix("dns://"), text.strip_prefix("dnss://")) {
            (Some(name), _) => (false, name),
            (None, Some(name)) => (true, name),
            (None, None) => return Ok(Self::One(text.parse()?)),
        };
        let error = || StageAddressError::Name(text.to_owned());
        let (host, port) = name.rsplit_once(':').ok_or_else(error)?;
        let is_name = !host.is_empty()
            && host.len() <= 253
            && host.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
        match port.parse() {
            Ok(port) if is_name && port != 0 => {
                Ok(Self::Name { secure, host: host.to_owned(), port })
            }
            _ => Err(error()),
        }
    }
}

impl fmt::Display for StageAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(address) => address.fmt(f),
            Self::Name { secure: true, host, port } => write!(f, "dnss://{host}:{port}"),
            Self::Name { secure: false, host, port } => write!(f, "dns://{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_url_or_a_name_with_a_port() {
        for good in ["http://127.0.0.1:1", "dns://denoiser.cogwheel.svc:50051", "dns://a:1"] {
            assert_eq!(good.parse::<StageAddress>().unwrap().to_string(), good);
        }
        let bad = ["", "dns://", "dns://a", "dns://:1", "dns://a:0", "dns://a:x", "dns://a/b:1"];
        for bad in bad.into_iter().chain(["a:1"]) {
            let error = bad.parse::<StageAddress>().unwrap_err();
            assert!(error.to_string().contains(&format!("found '{bad}'")), "{error}");
        }
    }
}
