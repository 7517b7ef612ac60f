use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::Connector;

/// How long a connection may take to be opened.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Window of a stream and of a connection: gRPC's 64 KiB would stop tensors at every chunk.
const WINDOW: u32 = 4 << 20;
/// A peer that does not answer a ping for so long is gone.
const KEEPALIVE: Duration = Duration::from_secs(20);

/// Where a service is.
#[derive(Clone, Debug)]
pub enum Address {
    /// `http://HOST:PORT`.
    Http(Uri),
    /// The same process.
    Memory(Connector),
}

/// Why an address cannot be used.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("expected an address such as http://127.0.0.1:50051, found '{0}'")]
pub struct AddressError(String);

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || AddressError(text.to_owned());
        let uri: Uri = text.parse().map_err(|_| error())?;
        let bare = matches!(uri.path(), "" | "/") && uri.query().is_none();
        if uri.scheme_str() == Some("http") && uri.host().is_some_and(|h| !h.is_empty()) && bare {
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
            Self::Memory(_) => f.write_str("this process"),
        }
    }
}

/// A channel that connects at the first call and again whenever the connection is lost, so that
/// the order in which processes start does not matter.
pub fn connect(address: &Address) -> Channel {
    match address {
        Address::Http(uri) => tuned(Endpoint::from(uri.clone())).connect_lazy(),
        Address::Memory(connector) => {
            // The name only fills the `:authority` of requests.
            let endpoint = tuned(Endpoint::from_static("http://memory"));
            let connector = connector.clone();
            endpoint.connect_with_connector_lazy(tower::service_fn(move |_: Uri| {
                let connector = connector.clone();
                async move { connector.connect().await.map(TokioIo::new) }
            }))
        }
    }
}

fn tuned(endpoint: Endpoint) -> Endpoint {
    endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .tcp_nodelay(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_http_with_a_host_and_no_path() {
        for good in ["http://127.0.0.1:50051", "http://denoiser:50051/", "http://[::1]:1"] {
            let address: Address = good.parse().unwrap();
            assert_eq!(address.to_string(), good.trim_end_matches('/'));
        }
        for bad in [
            "",
            "localhost:50051",
            "https://a:1",
            "http://",
            "http://a:1/path",
            "ftp://a:1",
            "http://a:1?q=1",
        ] {
            assert_eq!(bad.parse::<Address>().unwrap_err(), AddressError(bad.to_owned()));
        }
    }
}
