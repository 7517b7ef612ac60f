use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::future::{Either, Ready, ready};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::header::AUTHORIZATION;
use tonic::codegen::http::{HeaderMap, Request, Response};
use tower::{Layer, Service};
use tracing::warn;

use super::rules::{Caller, Rules};
use super::{Access, role};
use crate::Failure;
use crate::listener::Peer;

/// Characters of a path that are logged: more than any method's has.
const MAX_PATH: usize = 100;

/// How often a refused call is logged at most; all are counted among the metrics.
const PAUSE: Duration = Duration::from_secs(1);

/// Answers calls that their caller may not make; no byte of them is read.
#[derive(Clone, Debug)]
pub(crate) struct AccessLayer(pub(crate) Access);

impl<S> Layer<S> for AccessLayer {
    type Service = AccessService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        AccessService { access: self.0.clone(), inner }
    }
}

/// See [`AccessLayer`].
#[derive(Clone, Debug)]
pub(crate) struct AccessService<S> {
    access: Access,
    inner: S,
}

impl<S> Service<Request<Body>> for AccessService<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Either<Ready<Result<Self::Response, Self::Error>>, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let passed = match self.access.rules() {
            None => Ok(()),
            Some(rules) => check(&rules, &request),
        };
        // Whoever comes next has no use for it, and nothing to hide.
        request.headers_mut().remove(AUTHORIZATION);
        match passed {
            Ok(()) => Either::Right(self.inner.call(request)),
            Err(failure) => {
                if is_time_to_tell() {
                    // The caller has made it up.
                    let path: String = request.uri().path().chars().take(MAX_PATH).collect();
                    warn!(path, %failure, "refused");
                }
                Either::Left(ready(Ok(Status::from(failure).into_http())))
            }
        }
    }
}

/// Passes a call whose caller has a role that it needs.
fn check<T>(rules: &Rules, request: &Request<T>) -> Result<(), Failure> {
    let needed = role::needed(request.uri().path());
    if needed.is_empty() {
        return Ok(());
    }
    let by_token = token(request.headers())?.map(|token| rules.of_token(token));
    let names = request.extensions().get::<Peer>().map(|peer| &*peer.names).unwrap_or_default();
    let by_name = rules.of_names(names);
    let caller = match (by_token, by_name) {
        // Who says so much must not say anything wrong.
        (Some(None), _) => return Err(Failure::Unauthenticated("this token is not known here")),
        (Some(Some(of_token)), Some(of_name)) => {
            Caller { roles: [&*of_token.roles, &*of_name.roles].concat(), name: of_token.name }
        }
        (Some(Some(caller)), None) | (None, Some(caller)) => caller,
        (None, None) => {
            return Err(Failure::Unauthenticated(
                "expected a token (authorization: Bearer TOKEN) or a certificate that is known here",
            ));
        }
    };
    if caller.may(needed) {
        return Ok(());
    }
    let roles: Vec<_> = needed.iter().map(ToString::to_string).collect();
    let (name, roles) = (caller.name, roles.join(" or "));
    Err(Failure::PermissionDenied(format!("'{name}' may not call this: expected role {roles}")))
}

/// The token of a call, if it brings one.
fn token(headers: &HeaderMap) -> Result<Option<&str>, Failure> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let words = value.to_str().ok().and_then(|text| text.trim().split_once(' '));
    match words {
        Some((scheme, token))
            if scheme.eq_ignore_ascii_case("bearer") && values.next().is_none() =>
        {
            Ok(Some(token.trim()))
        }
        _ => Err(Failure::Unauthenticated("expected one header authorization: Bearer TOKEN")),
    }
}

/// Whether none has been logged lately: strangers do not fill the log.
fn is_time_to_tell() -> bool {
    static LAST: Mutex<Option<Instant>> = Mutex::new(None);
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    let is_time = last.is_none_or(|last| last.elapsed() >= PAUSE);
    if is_time {
        *last = Some(Instant::now());
    }
    is_time
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tonic::Code;

    use super::*;

    /// Of `secret` and of `adapters`, as sha256sum says it.
    const SECRET: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
    const GENERATE: &str = "/cogwheel.generation.v1.GenerationService/GenerateVideo";
    const DELETE: &str = "/cogwheel.adapter.v1.AdapterService/DeleteAdapter";

    fn rules() -> Rules {
        let mut rules = Rules::default();
        rules.add_token("ci", SECRET, &["generate".to_owned()]).unwrap();
        rules.add_identity("ops", "spiffe://a/ops", &["adapters".to_owned()]).unwrap();
        rules
    }

    /// What becomes of a call with these headers and of a peer with these names.
    fn code(path: &str, authorization: &[&str], names: &[&str]) -> Code {
        let mut request = Request::builder().uri(path).body(()).unwrap();
        for value in authorization {
            request.headers_mut().append(AUTHORIZATION, value.parse().unwrap());
        }
        let names: Arc<[String]> = names.iter().map(|name| (*name).to_owned()).collect();
        request.extensions_mut().insert(Peer::named(names));
        match check(&rules(), &request) {
            Ok(()) => Code::Ok,
            Err(failure) => Status::from(failure).code(),
        }
    }

    #[test]
    fn calls_need_a_token_or_a_certificate_with_the_role() {
        let (good, ops) = ("Bearer secret", "spiffe://a/ops");
        assert_eq!(code(GENERATE, &[good], &[]), Code::Ok);
        assert_eq!(code(GENERATE, &["bearer  secret "], &[]), Code::Ok);
        assert_eq!(code(DELETE, &[good], &[]), Code::PermissionDenied);
        assert_eq!(code(DELETE, &[], &[ops]), Code::Ok);
        assert_eq!(code(GENERATE, &[], &[ops]), Code::PermissionDenied);
        // Together they may what each may.
        assert_eq!(code(DELETE, &[good], &[ops]), Code::Ok);
        assert_eq!(code(GENERATE, &[good], &[ops]), Code::Ok);
        assert_eq!(code("/elsewhere.Service/Method", &[good], &[ops]), Code::PermissionDenied);
    }

    #[test]
    fn what_is_wrong_is_not_made_good_by_anything_else() {
        for wrong in [
            &[][..],
            &["Bearer wrong"],
            &["Bearer "],
            &["Bearer"],
            &["Basic secret"],
            &["secret"],
            &["Bearer secret", "Bearer secret"],
        ] {
            assert_eq!(code(GENERATE, wrong, &["unknown"]), Code::Unauthenticated, "{wrong:?}");
        }
        assert_eq!(code(DELETE, &["Bearer wrong"], &["spiffe://a/ops"]), Code::Unauthenticated);
    }

    #[test]
    fn health_and_reflection_are_everybodys() {
        for path in ["/grpc.health.v1.Health/Check", "/grpc.reflection.v1.ServerReflection/x"] {
            assert_eq!(code(path, &[], &[]), Code::Ok, "{path}");
        }
    }
}
