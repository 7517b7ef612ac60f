use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http_body::{Body as _, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::codegen::{BoxFuture, Bytes};
use tower::{Layer, Service};

use crate::Failure;
use crate::listener::{Peer, RunningCall};

/// How long a caller may pause in the middle of what it sends.
const STALL: Duration = Duration::from_secs(60);

/// Counts a connection's calls from their first byte to their last, and ends those whose caller stops in the middle.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ActivityLayer;

/// See [`ActivityLayer`].
#[derive(Clone, Debug)]
pub(crate) struct ActivityService<S>(S);

impl<S> Layer<S> for ActivityLayer {
    type Service = ActivityService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ActivityService(inner)
    }
}

impl<S> Service<Request<Body>> for ActivityService<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let running = request.extensions().get::<Peer>().map(|peer| peer.activity.begin());
        let request = request
            .map(|body| if body.is_end_stream() { body } else { Body::new(Received::new(body)) });
        let answering = self.0.call(request);
        Box::pin(async move {
            let response = answering.await?;
            Ok(response.map(|body| Body::new(Sent { body, _running: running })))
        })
    }
}

/// What a caller sends, as long as it goes on.
struct Received {
    body: Body,
    patience: Pin<Box<Sleep>>,
    waiting: bool,
}

impl Received {
    fn new(body: Body) -> Self {
        Self { body, patience: Box::pin(sleep(STALL)), waiting: false }
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

/// An answer; while it is sent, its call is running.
struct Sent {
    body: Body,
    _running: Option<RunningCall>,
}

impl http_body::Body for Sent {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
