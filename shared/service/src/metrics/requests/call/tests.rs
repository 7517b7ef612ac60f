use futures_util::future::poll_fn;

use super::*;
use crate::{Failure, Invalid, MemoryNeed};

/// Each test has a service of its own: the metrics are the whole process's.
fn call(service: &'static str, timeout: Option<&'static str>) -> Call {
    let mut headers = HeaderMap::new();
    if let Some(timeout) = timeout {
        headers.insert("grpc-timeout", timeout.parse().unwrap());
    }
    Call::begin(service, "S/M", &headers)
}

fn counted(service: &'static str, code: &'static str) -> u64 {
    METRICS.requests.get_or_create(&Request { service, method: "S/M".to_owned(), code }).get()
}

fn of_reason(service: &'static str, reason: &'static str) -> u64 {
    let labels = [("service", service), ("reason", reason)];
    METRICS.rejected.get_or_create(&labels).get() + METRICS.cancelled.get_or_create(&labels).get()
}

fn in_flight(service: &'static str) -> i64 {
    METRICS.in_flight.get_or_create(&[("service", service)]).get()
}

#[test]
fn a_call_that_is_dropped_was_given_up_by_its_client_or_its_deadline() {
    let left = call("test left", None);
    assert_eq!(in_flight("test left"), 1);
    drop(left);
    assert_eq!(in_flight("test left"), 0);
    assert_eq!((counted("test left", "CANCELLED"), of_reason("test left", "client")), (1, 1));
    drop(call("test late", Some("1n")));
    assert_eq!(counted("test late", "DEADLINE_EXCEEDED"), 1);
    assert_eq!((of_reason("test late", "deadline"), of_reason("test late", "client")), (1, 0));
}

#[test]
fn a_refused_call_is_counted_by_its_reason() {
    let mut memory = Invalid::default();
    memory.add("width", "expected a multiple of 16, found 7");
    memory.add_memory("num_frames", "", MemoryNeed { need: 2, limit: 1 });
    let refusals = [
        ("test invalid", "invalid", Status::from(Failure::invalid("width", "too large"))),
        ("test memory", "memory", Status::from(Failure::Invalid(memory))),
        ("test nobody", "unauthenticated", Status::unauthenticated("expected a token")),
        ("test nothing", "permission", Status::permission_denied("expected a role")),
    ];
    for (service, reason, status) in refusals {
        let head = status.into_http::<Body>();
        assert!(call(service, None).ends_with(head.headers()));
        assert_eq!(of_reason(service, reason), 1, "{service}");
        assert_eq!(in_flight(service), 0);
    }
}

#[tokio::test]
async fn a_call_that_comes_to_its_end_is_counted_by_the_code_of_its_trailers() {
    let service = "test whole";
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "8".parse().unwrap());
    let frames = [Ok(Frame::data(Bytes::from_static(b"abc"))), Ok(Frame::trailers(trailers))];
    let mut frames = frames.into_iter();
    let body = Body::new(Polled(move || frames.next()));
    let mut head = call(service, None);
    assert!(!head.ends_with(&HeaderMap::new()));
    let mut body = MeasuredBody::new(body, head);
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        frame.unwrap();
    }
    drop(body);
    assert_eq!(counted(service, "RESOURCE_EXHAUSTED"), 1);
    assert_eq!(of_reason(service, "client"), 0);
}

/// A body of frames that are all there.
struct Polled<F>(F);

impl<F: FnMut() -> Option<Result<Frame<Bytes>, Status>> + Unpin> HttpBody for Polled<F> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Poll::Ready((self.0)())
    }
}
