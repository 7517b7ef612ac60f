mod connection;
mod connections;
mod files;
mod incoming;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::DuplexStream;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::access::Access;
use crate::tls::ServerTls;
pub(crate) use connection::Peer;
pub(crate) use connections::RunningCall;
pub(crate) use incoming::incoming;

/// Bytes in flight each way on an in-memory connection; a chunk of a tensor and its frame fit.
const MEMORY_BUFFER: usize = 2 << 20;
/// In-memory connections waiting to be accepted; a process opens one a stage.
const MEMORY_BACKLOG: usize = 16;

/// Where a server takes connections from, bound before anything is loaded.
#[derive(Debug)]
pub struct Listener {
    pub(crate) socket: Socket,
    pub(crate) tls: Option<Arc<ServerTls>>,
    /// Whether clients need certificates.
    pub(crate) is_mutual: bool,
    pub(crate) access: Access,
}

#[derive(Debug)]
pub(crate) enum Socket {
    /// A TCP port.
    Tcp(TcpListener),
    /// The same process.
    Memory(mpsc::Receiver<DuplexStream>),
}

impl Listener {
    /// Binds a TCP address.
    ///
    /// # Errors
    /// With the address in the message, e.g. when the port is in use.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        match TcpListener::bind(address).await {
            Ok(listener) => Ok(Self::of(Socket::Tcp(listener))),
            Err(error) => {
                let message = format!("cannot listen on {address}: {error}");
                Err(io::Error::new(error.kind(), message))
            }
        }
    }

    fn of(socket: Socket) -> Self {
        Self { socket, tls: None, is_mutual: false, access: Access::Open }
    }

    /// The address that was really bound; in memory there is none.
    pub fn address(&self) -> Option<SocketAddr> {
        match &self.socket {
            Socket::Tcp(listener) => listener.local_addr().ok(),
            Socket::Memory(_) => None,
        }
    }

    /// Whether connections need TLS.
    pub fn has_tls(&self) -> bool {
        self.tls.is_some()
    }
}

/// Opens connections to a listener of the same process.
#[derive(Clone, Debug)]
pub struct Connector(mpsc::Sender<DuplexStream>);

impl Connector {
    /// Opens a connection.
    ///
    /// # Errors
    /// `ConnectionRefused` when the server is gone.
    pub async fn connect(&self) -> io::Result<DuplexStream> {
        let (ours, theirs) = tokio::io::duplex(MEMORY_BUFFER);
        match self.0.send(theirs).await {
            Ok(()) => Ok(ours),
            Err(_) => Err(io::Error::new(io::ErrorKind::ConnectionRefused, "the stage has ended")),
        }
    }
}

/// A listener inside this process and what opens connections to it: the same services, the same
/// protocol, no socket.
pub fn memory_listener() -> (Connector, Listener) {
    let (sender, receiver) = mpsc::channel(MEMORY_BACKLOG);
    (Connector(sender), Listener::of(Socket::Memory(receiver)))
}
