use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http_body::{Body as HttpBody, Frame, SizeHint};
use tonic::body::Body;
use tonic::codegen::Bytes;
use tonic::codegen::http::HeaderMap;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::deadline::deadline_of;
use crate::failure::MEMORY;
use crate::metrics::catalogue::{METRICS, Method, Request};
use crate::metrics::{Cancelled, Rejected, cancelled, rejected};

/// A call under way; it is counted when this is dropped.
#[derive(Debug)]
pub(super) struct Call {
    service: &'static str,
    method: String,
    start: Instant,
    timeout: Option<Duration>,
    /// How it ended, if it came to its end.
    code: Option<Code>,
}

impl Call {
    pub(super) fn begin(service: &'static str, method: &str, headers: &HeaderMap) -> Self {
        METRICS.in_flight.get_or_create(&[("service", service)]).inc();
        let timeout = deadline_of(&MetadataMap::from_headers(headers.clone()));
        Self { service, method: method.to_owned(), start: Instant::now(), timeout, code: None }
    }

    /// Whether these are the headers of an answer that has no body, since it was refused.
    pub(super) fn ends_with(&mut self, headers: &HeaderMap) -> bool {
        let Some(status) = Status::from_header_map(headers) else { return false };
        self.code = Some(status.code());
        let violations = || status.get_details_bad_request().map(|bad| bad.field_violations);
        let reason = match status.code() {
            Code::InvalidArgument
                if violations().is_some_and(|all| all.iter().any(|v| v.reason == MEMORY)) =>
            {
                Rejected::Memory
            }
            Code::InvalidArgument => Rejected::Invalid,
            Code::Unauthenticated => Rejected::Unauthenticated,
            Code::PermissionDenied => Rejected::Permission,
            _ => return true,
        };
        rejected(self.service, reason);
        true
    }

    fn ended(&mut self, trailers: Option<&HeaderMap>) {
        let status = trailers.and_then(Status::from_header_map);
        self.code = Some(status.map_or(Code::Unknown, |status| status.code()));
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let took = self.start.elapsed();
        let code = self.code.unwrap_or(match self.timeout {
            Some(timeout) if took >= timeout => Code::DeadlineExceeded,
            // Dropped on the way: nobody is there any more to tell.
            _ => Code::Cancelled,
        });
        let Self { service, method, .. } = self;
        METRICS.in_flight.get_or_create(&[("service", service)]).dec();
        let method = std::mem::take(method);
        let labels = Method { service, method: method.clone() };
        METRICS.request_duration.get_or_create(&labels).observe(took.as_secs_f64());
        METRICS.requests.get_or_create(&Request { service, method, code: name(code) }).inc();
        // Last, so that whoever reads of one that left reads of the request, too.
        match code {
            Code::DeadlineExceeded => cancelled(service, Cancelled::Deadline),
            Code::Cancelled => cancelled(service, Cancelled::Client),
            _ => {}
        }
    }
}

/// As gRPC's documents write it.
fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// The body of an answer; the call ends with its trailers.
#[derive(Debug)]
pub(super) struct MeasuredBody {
    inner: Body,
    call: Call,
}

impl MeasuredBody {
    pub(super) fn new(inner: Body, call: Call) -> Self {
        Self { inner, call }
    }
}

impl HttpBody for MeasuredBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) if frame.is_trailers() => {
                self.call.ended(frame.trailers_ref());
            }
            Poll::Ready(None) if self.call.code.is_none() => self.call.ended(None),
            _ => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests;
