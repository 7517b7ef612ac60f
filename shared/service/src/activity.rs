use std::pin::Pin;
use std::task::{Context, Poll};

use http_body::{Frame, SizeHint};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::codegen::{BoxFuture, Bytes};
use tower::{Layer, Service};

use crate::listener::{Peer, RunningCall};

/// Counts a connection's calls from their first byte to their last.
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
        // Everybody may ask for health and reflection: that keeps a connection from resting, but no place from others.
        let is_work = !request.uri().path().starts_with("/grpc.");
        let running = request.extensions().get::<Peer>().map(|peer| peer.activity.begin(is_work));
        let answering = self.0.call(request);
        Box::pin(async move {
            let response = answering.await?;
            Ok(response.map(|body| Body::new(Sent { body, _running: running })))
        })
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
