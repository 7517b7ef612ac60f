use std::net::IpAddr;
use std::task::{Context, Poll};

use futures_util::future::{Either, Ready, ready};
use tonic::body::Body;
use tonic::codegen::http::header::{self, HeaderName};
use tonic::codegen::http::uri::Authority;
use tonic::codegen::http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use tonic_web::{GrpcWebLayer, GrpcWebService};
use tower::{Layer, Service};

/// What a page may do: load its own files, call its own server, and show pictures and videos that it has itself
/// (`blob:`); nothing inline, nobody else's.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src 'self' blob:; connect-src 'self'; media-src blob:; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";

/// What every answer to a browser says beside its type.
const HEADERS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    // A newer server's page is seen at once.
    (header::CACHE_CONTROL, "no-cache"),
];

const TEXT: &str = "text/plain; charset=utf-8";
const STRANGE_HOST: &str = "this server listens on this machine alone: expected a host that is an address or \
     localhost, found another name\n";

/// Files that a server gives to browsers on the port of its gRPC services. The page calls these
/// services by gRPC-Web, from its own origin only.
#[derive(Clone, Copy, Debug)]
pub struct Page(pub &'static [PageFile]);

/// One file of a page.
#[derive(Clone, Copy, Debug)]
pub struct PageFile {
    /// Where it is asked for, e.g. `/style.css`.
    pub path: &'static str,
    /// Its media type.
    pub media_type: &'static str,
    /// What is in it.
    pub text: &'static str,
}

/// Answers GET and HEAD with a page, and lets gRPC-Web through to the gRPC services as gRPC.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PageLayer {
    pub(crate) page: Page,
    /// Whether this machine alone can reach the server.
    pub(crate) local: bool,
}

impl<S> Layer<S> for PageLayer {
    type Service = PageService<GrpcWebService<S>>;

    fn layer(&self, inner: S) -> Self::Service {
        PageService { layer: *self, inner: GrpcWebLayer::new().layer(inner) }
    }
}

/// See [`PageLayer`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct PageService<S> {
    layer: PageLayer,
    inner: S,
}

impl<S> Service<Request<Body>> for PageService<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Either<Ready<Result<Self::Response, Self::Error>>, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let PageLayer { page, local } = self.layer;
        if local && !is_local(&request) {
            return Either::Left(ready(Ok(answer(StatusCode::FORBIDDEN, TEXT, STRANGE_HOST))));
        }
        // gRPC, in whatever form, is POST alone.
        match *request.method() {
            Method::GET => Either::Left(ready(Ok(page.file(request.uri().path())))),
            Method::HEAD => {
                let file = page.file(request.uri().path());
                Either::Left(ready(Ok(file.map(|_| Body::empty()))))
            }
            _ => Either::Right(self.inner.call(request)),
        }
    }
}

impl Page {
    /// The file of a path.
    fn file(self, path: &str) -> Response<Body> {
        match self.0.iter().find(|file| file.path == path) {
            Some(file) => answer(StatusCode::OK, file.media_type, file.text),
            None => answer(StatusCode::NOT_FOUND, TEXT, "not found\n"),
        }
    }
}

/// Whether a request calls this machine by an address or as localhost. A page from elsewhere whose own
/// name was made to lead here (DNS rebinding) is of the same origin in the browser's eyes, and its
/// name is all that tells it. Browsers speak HTTP/2 with TLS only, so that is none of theirs.
fn is_local(request: &Request<Body>) -> bool {
    if request.version() == Version::HTTP_2 {
        return true;
    }
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let Some(Ok(host)) = host.map(str::parse::<Authority>) else { return false };
    let name = host.host().trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || name.ends_with(".localhost") || name.parse::<IpAddr>().is_ok()
}

/// A text for a browser.
fn answer(status: StatusCode, media_type: &'static str, text: &str) -> Response<Body> {
    let mut response = Response::new(Body::new(text.to_owned()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(text.len()));
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_was_made_to_lead_here_is_no_local_one() {
        let is_local = |version, host: Option<&str>| {
            let mut request = Request::builder().version(version);
            if let Some(host) = host {
                request = request.header(header::HOST, host);
            }
            is_local(&request.body(Body::empty()).unwrap())
        };
        for host in
            ["localhost", "localhost:50051", "a.localhost", "127.0.0.1:5", "[::1]:5", "[::1]"]
        {
            assert!(is_local(Version::HTTP_11, Some(host)), "{host}");
        }
        for host in
            ["evil.example", "evil.example:50051", "localhost.evil.example", "notlocalhost", ""]
        {
            assert!(!is_local(Version::HTTP_11, Some(host)), "{host}");
        }
        assert!(!is_local(Version::HTTP_10, None));
        assert!(is_local(Version::HTTP_2, None));
    }
}
