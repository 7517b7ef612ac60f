use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tracing::{debug, warn};

use super::connection::{Connection, Io};
use super::connections::{Connections, Place};
use super::{Listener, Socket, files};
use crate::Limits;
use crate::tls::ServerTls;

/// Connections that are ready for the server; it takes them at once.
const READY: usize = 64;
/// How often idle connections are looked for.
const SWEEP: Duration = Duration::from_secs(1);
/// How long to wait when the system has no file for a connection.
const NO_FILES: Duration = Duration::from_millis(50);

/// The connections of a listener, handshake done, until the stream is dropped.
pub(crate) fn incoming(
    listener: Listener,
    limits: &Limits,
) -> impl Stream<Item = io::Result<Connection>> + use<> {
    let (sender, ready) = mpsc::channel(READY);
    match listener.socket {
        Socket::Tcp(tcp) => {
            files::allow(limits.max_connections);
            let doors = Doors {
                connections: Connections::new(limits.max_connections, limits.connection_idle),
                handshake: limits.handshake,
                tls: listener.tls,
                ready: sender,
            };
            tokio::spawn(doors.open(tcp));
        }
        Socket::Memory(mut connections) => {
            tokio::spawn(async move {
                while let Some(stream) = connections.recv().await {
                    let connection = Connection::of(Io::Memory(stream), None);
                    if sender.send(Ok(connection)).await.is_err() {
                        break;
                    }
                }
            });
        }
    }
    ReceiverStream::new(ready)
}

/// What happens to a connection before the server has it.
struct Doors {
    connections: Arc<Connections>,
    handshake: Duration,
    tls: Option<Arc<ServerTls>>,
    ready: mpsc::Sender<io::Result<Connection>>,
}

impl Doors {
    /// Accepts until nobody takes connections any more; the port is closed then.
    async fn open(self, tcp: TcpListener) {
        if let Some(tls) = &self.tls {
            tls.watch();
        }
        let mut handshakes = JoinSet::new();
        let mut sweep = interval(SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.ready.closed() => return,
                _ = sweep.tick() => self.connections.close_idle(),
                Some(_) = handshakes.join_next() => {}
                accepted = tcp.accept() => match accepted {
                    Ok((stream, address)) => match self.connections.enter() {
                        Some(place) => {
                            let tls = self.tls.as_ref().map(|tls| tls.latest());
                            let acceptor = tls.map(TlsAcceptor::from);
                            let (ready, limit) = (self.ready.clone(), self.handshake);
                            handshakes.spawn(async move {
                                match timeout(limit, shake(stream, place, acceptor)).await {
                                    Ok(Ok(connection)) => drop(ready.send(Ok(connection)).await),
                                    Ok(Err(reason)) => debug!(%address, %reason, "no connection"),
                                    Err(_) => debug!(%address, "no handshake within the time"),
                                }
                            });
                        }
                        // Closed by being dropped.
                        None => debug!(%address, "no connection: each that may be open has a call"),
                    },
                    Err(error) => {
                        // Most are of the peer, which is gone; without files the next attempt would fail at once.
                        warn!(%error, "cannot accept a connection");
                        tokio::time::sleep(NO_FILES).await;
                    }
                },
            }
        }
    }
}

async fn shake(
    stream: TcpStream,
    place: Place,
    acceptor: Option<TlsAcceptor>,
) -> io::Result<Connection> {
    stream.set_nodelay(true)?;
    let io = match acceptor {
        None => Io::Tcp(stream),
        Some(acceptor) => {
            let activity = place.activity();
            tokio::select! {
                // Its place is another's.
                () = activity.close().cancelled() => {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, "another came meanwhile"));
                }
                stream = acceptor.accept(stream) => Io::Tls(Box::new(stream?)),
            }
        }
    };
    Ok(Connection::of(io, Some(place)))
}
