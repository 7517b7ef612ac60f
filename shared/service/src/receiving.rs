mod framing;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use http_body::{Body as _, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Bytes;
use tonic::codegen::http::Request;
use tower::{Layer, Service};

use crate::Failure;
use crate::stall::STALL;
use framing::Framing;

/// Bounds what callers send: so many bytes of messages that are not whole yet, of all calls together, and no call that
/// stops in the middle.
#[derive(Clone, Debug)]
pub(crate) struct ReceivingLayer(Arc<Budget>);

impl ReceivingLayer {
    pub(crate) fn new(limit: usize) -> Self {
        Self(Arc::new(Budget { limit, used: AtomicUsize::new(0) }))
    }
}

/// See [`ReceivingLayer`].
#[derive(Clone, Debug)]
pub(crate) struct ReceivingService<S> {
    budget: Arc<Budget>,
    inner: S,
}

impl<S> Layer<S> for ReceivingLayer {
    type Service = ReceivingService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ReceivingService { budget: Arc::clone(&self.0), inner }
    }
}

impl<S: Service<Request<Body>>> Service<Request<Body>> for ReceivingService<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let budget = Arc::clone(&self.budget);
        self.inner.call(request.map(|body| match body.is_end_stream() {
            true => body,
            false => Body::new(Received::new(body, budget)),
        }))
    }
}

/// Bytes of messages that are not whole yet.
#[derive(Debug)]
struct Budget {
    limit: usize,
    used: AtomicUsize,
}

/// What one call has of it.
#[derive(Debug)]
struct Share {
    of: Arc<Budget>,
    bytes: usize,
}

impl Share {
    /// Changes to so many bytes.
    fn resize(&mut self, bytes: usize) -> Result<(), Failure> {
        let more = bytes.saturating_sub(self.bytes);
        let used = self.of.used.fetch_add(more, Ordering::Relaxed);
        if used.saturating_add(more) > self.of.limit {
            self.of.used.fetch_sub(more, Ordering::Relaxed);
            let limit = self.of.limit;
            return Err(Failure::Busy(format!(
                "more than {limit} bytes of messages are being received"
            )));
        }
        self.of.used.fetch_sub(self.bytes.saturating_sub(bytes), Ordering::Relaxed);
        self.bytes = bytes;
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.of.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// What a caller sends, as long as it goes on and there is room for it.
struct Received {
    body: Body,
    framing: Framing,
    share: Share,
    patience: Pin<Box<Sleep>>,
    waiting: bool,
}

impl Received {
    fn new(body: Body, of: Arc<Budget>) -> Self {
        let (framing, share) = (Framing::default(), Share { of, bytes: 0 });
        Self { body, framing, share, patience: Box::pin(sleep(STALL)), waiting: false }
    }
}

impl http_body::Body for Received {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            self.waiting = false;
            if let Some(Ok(frame)) = &frame
                && let Some(bytes) = frame.data_ref()
            {
                let pending = self.framing.push(bytes);
                if let Err(failure) = self.share.resize(pending) {
                    return Poll::Ready(Some(Err(failure.into())));
                }
            }
            return Poll::Ready(frame);
        }
        // It counts while somebody waits for it: what nobody reads need not come.
        if !self.waiting {
            self.waiting = true;
            self.patience.as_mut().reset(Instant::now() + STALL);
        }
        ready!(self.patience.as_mut().poll(cx));
        Poll::Ready(Some(Err(Failure::Stalled(STALL).into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio_stream::wrappers::ReceiverStream;
    use tonic::Code;

    use super::*;

    /// A body that has what is sent, and goes on until the sender is dropped.
    fn body() -> (tokio::sync::mpsc::Sender<Bytes>, Body) {
        struct Sent(ReceiverStream<Bytes>);
        impl http_body::Body for Sent {
            type Data = Bytes;
            type Error = Status;
            fn poll_frame(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
            ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
                use futures_util::Stream as _;
                Pin::new(&mut self.0)
                    .poll_next(cx)
                    .map(|next| next.map(|data| Ok(Frame::data(data))))
            }
        }
        let (sender, receiver) = tokio::sync::mpsc::channel(8);
        (sender, Body::new(Sent(ReceiverStream::new(receiver))))
    }

    async fn next(received: &mut Received) -> Option<Result<usize, Status>> {
        let frame = poll_fn(|cx| Pin::new(&mut *received).poll_frame(cx)).await?;
        Some(frame.map(|frame| frame.data_ref().map_or(0, Bytes::len)))
    }

    /// The beginning of a message: it announces more than it has.
    fn half_a_message(bytes: usize) -> Bytes {
        let mut message = vec![0, 0, 1, 0, 0];
        message.resize(bytes, 7);
        message.into()
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_stops_in_the_middle_is_not_waited_for() {
        let (sender, body) = body();
        let budget = Arc::new(Budget { limit: 1 << 20, used: AtomicUsize::new(0) });
        let mut received = Received::new(body, Arc::clone(&budget));
        sender.send(half_a_message(1000)).await.unwrap();
        assert_eq!(next(&mut received).await.unwrap().unwrap(), 1000);
        let before = Instant::now();
        let status = next(&mut received).await.unwrap().unwrap_err();
        assert_eq!(status.code(), Code::Aborted);
        assert_eq!(before.elapsed().as_secs(), STALL.as_secs());
        assert_eq!(budget.used.load(Ordering::Relaxed), 1000);
        drop(received);
        assert_eq!(budget.used.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn halves_of_messages_take_no_more_than_they_may_together() {
        let budget = Arc::new(Budget { limit: 2500, used: AtomicUsize::new(0) });
        let begin = async || {
            let (sender, body) = body();
            sender.send(half_a_message(1000)).await.unwrap();
            let mut received = Received::new(body, Arc::clone(&budget));
            match next(&mut received).await.unwrap() {
                Ok(_) => Ok(received),
                Err(status) => Err(status.code()),
            }
        };
        let (first, second) = (begin().await, begin().await);
        assert!(first.is_ok() && second.is_ok());
        assert_eq!(begin().await.err(), Some(Code::ResourceExhausted));
        drop(first);
        assert!(begin().await.is_ok());
    }
}
