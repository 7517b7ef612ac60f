use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use tonic::transport::Uri;

use crate::Connector;

/// Where a service is.
#[derive(Clone, Debug)]
pub enum Address {
    /// `http://HOST:PORT`, or `https://HOST:PORT`.
    Http(Uri),
    /// One of the addresses that the host of a URI stands for; in certificates the host counts.
    At {
        /// The URI, with the host.
        uri: Uri,
        /// The address.
        socket: SocketAddr,
    },
    /// The same process.
    Memory(Connector),
}

/// Why an address cannot be used.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("expected an address such as http://127.0.0.1:50051, found '{0}'")]
pub struct AddressError(String);

impl Address {
    /// Whether connections to it need TLS.
    pub fn is_secure(&self) -> bool {
        self.scheme() == "https"
    }

    /// The same at one of the addresses that its host stands for.
    #[must_use]
    pub fn at(&self, socket: SocketAddr) -> Self {
        match self {
            Self::Http(uri) | Self::At { uri, .. } => Self::At { uri: uri.clone(), socket },
            Self::Memory(_) => self.clone(),
        }
    }

    fn scheme(&self) -> &str {
        match self {
            Self::Http(uri) | Self::At { uri, .. } => uri.scheme_str().unwrap_or("http"),
            Self::Memory(_) => "memory",
        }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || AddressError(text.to_owned());
        let uri: Uri = text.parse().map_err(|_| error())?;
        let bare = matches!(uri.path(), "" | "/") && uri.query().is_none();
        let known = matches!(uri.scheme_str(), Some("http" | "https"));
        if known && uri.host().is_some_and(|h| !h.is_empty()) && bare {
            Ok(Self::Http(uri))
        } else {
            Err(error())
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(uri) => write!(f, "{}", uri.to_string().trim_end_matches('/')),
            Self::At { socket, .. } => write!(f, "{}://{socket}", self.scheme()),
            Self::Memory(_) => f.write_str("this process"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_http_or_https_with_a_host_and_no_path() {
        for good in [
            "http://127.0.0.1:50051",
            "http://denoiser:50051/",
            "http://[::1]:1",
            "https://denoiser:50051",
        ] {
            let address: Address = good.parse().unwrap();
            assert_eq!(address.to_string(), good.trim_end_matches('/'));
        }
        for bad in [
            "",
            "localhost:50051",
            "https://a:1/path",
            "dns://a:1",
            "http://",
            "http://a:1/path",
            "ftp://a:1",
            "http://a:1?q=1",
        ] {
            assert_eq!(bad.parse::<Address>().unwrap_err(), AddressError(bad.to_owned()));
        }
    }
}
