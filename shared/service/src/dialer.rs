use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::io::AsyncBufRead as _;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;
use tonic::codegen::InterceptedService;
use tonic::transport::{Channel, Endpoint, Uri};
use tower::ServiceExt as _;

use crate::credentials::{Credentials, TokenSource};
use crate::tls::{ClientTls, client_tls};
use crate::{Address, Fatal};

/// How long a connection may take to be opened, its handshake included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Window of a stream: gRPC's 64 KiB would stop tensors at every chunk.
const WINDOW: u32 = 4 << 20;
/// Window of a connection: enough for as many calls as there ever are, all of them ours. One whose answer is read slowly must
/// not keep the others from theirs.
const CONNECTION_WINDOW: u32 = 1 << 30;
/// How long a server's first word is waited for before something is asked of it.
const FIRST_WORD: Duration = Duration::from_millis(250);
/// A peer that does not answer a ping for so long is gone.
const KEEPALIVE: Duration = Duration::from_secs(20);

/// A channel to where there is no TLS and no token: in this process, and in tests.
pub fn connect(address: &Address) -> Channel {
    Dialer::default().channel(address)
}

/// A channel whose calls carry the token, if there is one.
pub type Link = InterceptedService<Channel, Credentials>;

/// What a client needs to be let in, and whom it believes.
#[derive(Clone, Debug, Default)]
pub struct DialerSettings {
    /// Authorities in PEM; without them the system's are believed.
    pub ca: Option<PathBuf>,
    /// Certificate and key in PEM, which it shows of itself.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Its token.
    pub token: Option<TokenSource>,
}

/// Makes channels to services: by TLS to `https://` addresses, with the token in every call.
///
/// Files are read again whenever they change: new connections take the new certificates, new calls
/// the new token.
#[derive(Clone, Debug, Default)]
pub struct Dialer {
    tls: Option<Arc<ClientTls>>,
    credentials: Credentials,
}

impl Dialer {
    /// Reads the files. `secure` says whether any of the addresses will be `https://`: without
    /// one, authorities are not looked for.
    ///
    /// # Errors
    /// What is wrong with a file: bad usage.
    pub fn new(settings: DialerSettings, secure: bool) -> Result<Self, Fatal> {
        let DialerSettings { ca, identity, token } = settings;
        let wanted = secure || ca.is_some() || identity.is_some();
        let tls = wanted.then(|| client_tls(ca, identity)).transpose();
        let tls = tls.map_err(Fatal::usage)?.map(Arc::new);
        if let Some(tls) = &tls {
            tls.watch();
        }
        let credentials = Credentials::read(token).map_err(Fatal::usage)?;
        Ok(Self { tls, credentials })
    }

    /// A channel that connects at the first call and again whenever the connection is lost, so that
    /// the order in which processes start does not matter.
    pub fn connect(&self, address: &Address) -> Link {
        InterceptedService::new(self.channel(address), self.credentials.clone())
    }

    /// A channel whose calls carry no token.
    pub(crate) fn channel(&self, address: &Address) -> Channel {
        match address {
            Address::Http(uri) => self.dial(uri, None),
            Address::At { uri, socket } => self.dial(uri, Some(*socket)),
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

    fn dial(&self, uri: &Uri, socket: Option<SocketAddr>) -> Channel {
        let secure = uri.scheme_str() == Some("https");
        let host = uri.host().unwrap_or_default().to_owned();
        let target = match (socket, uri.port_u16()) {
            (Some(socket), _) => socket.to_string(),
            (None, Some(port)) => format!("{host}:{port}"),
            (None, None) => format!("{host}:{}", if secure { 443 } else { 80 }),
        };
        // tonic's own TLS would take the place of ours by the scheme; calls still say the true one.
        let plain = Uri::builder().scheme("http").authority(target).path_and_query("/").build();
        let plain = plain.unwrap_or_else(|_| uri.clone());
        let endpoint = tuned(Endpoint::from(plain).origin(uri.clone()));
        let tls = self.tls.clone().filter(|_| secure);
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        endpoint.connect_with_connector_lazy(tower::service_fn(move |plain: Uri| {
            let (tls, host) = (tls.clone(), host.clone());
            let tcp = tcp.clone();
            async move {
                let stream = tcp.oneshot(plain).await.map_err(io::Error::other)?.into_inner();
                let stream = match tls {
                    Some(tls) => Either::Left(shake(&tls, &host, stream).await?),
                    None if secure => return Err(io::Error::other("this client has no TLS")),
                    None => Either::Right(stream),
                };
                Ok(TokioIo::new(stream))
            }
        }))
    }
}

/// Shows what the files hold now, and believes whom they name for `host`.
async fn shake(tls: &ClientTls, host: &str, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
    // Addresses of version 6 stand in brackets in a URI alone.
    let name = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let name = ServerName::try_from(name).map_err(io::Error::other)?;
    let mut stream = TlsConnector::from(tls.latest()).connect(name, stream).await?;
    // A server that does not like our certificate says so after we think that all is well; one that does speaks first, too.
    let first = poll_fn(|cx| Pin::new(&mut stream).poll_fill_buf(cx).map_ok(drop));
    match timeout(FIRST_WORD, first).await {
        Ok(first) => first.map(|()| stream),
        Err(_) => Ok(stream),
    }
}

fn tuned(endpoint: Endpoint) -> Endpoint {
    endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
}
