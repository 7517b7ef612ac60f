use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::transport::server::Connected;

use super::connections::{Activity, Place};
use crate::stall::STALL;
use crate::tls::names_of;

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// The names in its certificate, which has been verified.
    pub(crate) names: Arc<[String]>,
    pub(crate) activity: Arc<Activity>,
}

#[cfg(test)]
impl Peer {
    /// Somebody with these names in a certificate.
    pub(crate) fn named(names: Arc<[String]>) -> Self {
        Self { names, activity: Arc::new(Activity::new()) }
    }
}

/// An accepted connection.
#[derive(Debug)]
pub(crate) struct Connection {
    io: Io,
    peer: Peer,
    /// In memory nobody has one.
    _place: Option<Place>,
    closing: Pin<Box<WaitForCancellationFutureOwned>>,
    /// When the write that waits is given up.
    stalled: Pin<Box<Sleep>>,
    writing: bool,
}

#[derive(Debug)]
pub(super) enum Io {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Memory(DuplexStream),
}

impl Connection {
    pub(super) fn of(io: Io, place: Option<Place>) -> Self {
        let activity = place.as_ref().map_or_else(|| Arc::new(Activity::new()), Place::activity);
        let names = match &io {
            Io::Tls(stream) => {
                let certificates = stream.get_ref().1.peer_certificates();
                names_of(certificates.and_then(|chain| chain.first()))
            }
            Io::Tcp(_) | Io::Memory(_) => Arc::default(),
        };
        let closing = Box::pin(activity.close().clone().cancelled_owned());
        let (peer, stalled) = (Peer { names, activity }, Box::pin(sleep(STALL)));
        Self { io, peer, _place: place, closing, stalled, writing: false }
    }

    fn io(&mut self) -> Pin<&mut dyn Duplex> {
        match &mut self.io {
            Io::Tcp(stream) => Pin::new(stream),
            Io::Tls(stream) => Pin::new(&mut **stream),
            Io::Memory(stream) => Pin::new(stream),
        }
    }

    /// Writes by `write`, unless the peer has taken nothing for too long.
    fn write<T>(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut dyn Duplex>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(written) = write(self.io(), cx) {
            self.writing = false;
            return Poll::Ready(written);
        }
        if !self.writing {
            self.writing = true;
            self.stalled.as_mut().reset(Instant::now() + STALL);
        }
        ready!(self.stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer reads nothing")))
    }
}

/// What bytes go through, either way.
trait Duplex: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Duplex for T {}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // What comes first counts: a call that is here already is taken.
        if let Poll::Ready(read) = self.io().poll_read(cx, buffer) {
            return Poll::Ready(read);
        }
        // As if the peer had closed it.
        self.closing.as_mut().poll(cx).map(Ok)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write(cx, |io, cx| io.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write(cx, |io, cx| io.poll_write_vectored(cx, pieces))
    }

    fn is_write_vectored(&self) -> bool {
        match &self.io {
            Io::Tcp(stream) => stream.is_write_vectored(),
            Io::Tls(stream) => stream.is_write_vectored(),
            Io::Memory(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write(cx, |io, cx| io.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write(cx, |io, cx| io.poll_shutdown(cx))
    }
}
