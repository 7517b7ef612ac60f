mod call;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tower::{Layer, Service};

use call::{Call, MeasuredBody};

use super::label;
use crate::methods::Methods;

/// Counts and measures the calls of a server's own services.
#[derive(Clone, Debug)]
pub(crate) struct RequestLayer {
    service: &'static str,
    methods: Arc<Methods>,
}

impl RequestLayer {
    /// For the server that logs call `server`, which has these methods.
    pub(crate) fn new(server: &str, methods: Arc<Methods>) -> Self {
        Self { service: label(server), methods }
    }
}

impl<S> Layer<S> for RequestLayer {
    type Service = RequestService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RequestService { layer: self.clone(), inner }
    }
}

/// See [`RequestLayer`].
#[derive(Clone, Debug)]
pub(crate) struct RequestService<S> {
    layer: RequestLayer,
    inner: S,
}

impl<S> Service<Request<Body>> for RequestService<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let RequestLayer { service, methods } = &self.layer;
        let method = methods.label(request.uri().path());
        let call = method.map(|method| Call::begin(service, method, request.headers()));
        let answer = self.inner.call(request);
        let Some(mut call) = call else { return Box::pin(answer) };
        Box::pin(async move {
            let response = answer.await?;
            // An answer without a body has its status in the head.
            if call.ends_with(response.headers()) {
                return Ok(response);
            }
            Ok(response.map(|body| Body::new(MeasuredBody::new(body, call))))
        })
    }
}
