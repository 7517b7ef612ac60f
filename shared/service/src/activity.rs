use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http_body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::codegen::{BoxFuture, Bytes};
use tower::{Layer, Service};

use crate::Failure;
use crate::listener::{Peer, RunningCall};

/// Questions of health and reflection that are open at once at a server. They are everybody's, and each takes some memory.
const MAX_QUESTIONS: usize = 2048;

/// Counts a connection's calls from their first byte to their last, and bounds those that everybody may make.
#[derive(Clone, Debug)]
pub(crate) struct ActivityLayer(Arc<Semaphore>);

impl Default for ActivityLayer {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_QUESTIONS)))
    }
}

/// See [`ActivityLayer`].
#[derive(Clone, Debug)]
pub(crate) struct ActivityService<S> {
    inner: S,
    questions: Arc<Semaphore>,
}

impl<S> Layer<S> for ActivityLayer {
    type Service = ActivityService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ActivityService { inner, questions: Arc::clone(&self.0) }
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
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // Everybody may ask for health, reflection and a page: that keeps a connection from resting, but no place from others.
        let path = request.uri().path();
        let is_work = path.starts_with("/cogwheel.");
        let question =
            path.starts_with("/grpc.").then(|| Arc::clone(&self.questions).try_acquire_owned());
        let Ok(question) = question.transpose() else {
            let failure =
                Failure::Exhausted(format!("{MAX_QUESTIONS} questions of this kind are open"));
            return Box::pin(async { Ok(Status::from(failure).into_http()) });
        };
        let running = request.extensions().get::<Peer>().map(|peer| peer.activity.begin(is_work));
        let answering = self.inner.call(request);
        Box::pin(async move {
            let response = answering.await?;
            if let Some(running) = &running {
                running.is_the_readers_turn(true);
            }
            Ok(response.map(|body| Body::new(Sent { body, running, _question: question })))
        })
    }
}

/// An answer; while it is sent, its call is running.
struct Sent {
    body: Body,
    running: Option<RunningCall>,
    _question: Option<OwnedSemaphorePermit>,
}

impl http_body::Body for Sent {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Some(running) = &self.running {
            // A body is asked for its next part only when the reader has room for it.
            running.is_the_readers_turn(polled.is_ready());
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
