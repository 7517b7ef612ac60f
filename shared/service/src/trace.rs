use std::fmt;

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceState};
use tonic::codegen::http::HeaderMap;
use tonic::metadata::{MetadataMap, MetadataValue};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// The headers of W3C's trace context.
const PARENT: &str = "traceparent";
const STATE: &str = "tracestate";
/// Characters of a `tracestate` that W3C asks to be passed on at least; a longer one is left out.
const MAX_STATE: usize = 512;
/// That the trace is recorded.
const SAMPLED: u8 = 1;

/// One id from the client through every stage, so that their logs and spans can be read as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId(u128);

/// The trace that a call belongs to, and its place there.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceContext {
    trace: TraceId,
    /// The span that the next one is part of.
    parent: u64,
    flags: u8,
    /// What the vendors of other tracers have to tell each other; nothing of it is ours.
    state: TraceState,
}

impl TraceContext {
    /// A trace that begins here.
    pub fn begin() -> Self {
        // All zeros is no id.
        let (trace, parent) = (TraceId(fastrand::u128(1..)), fastrand::u64(1..));
        Self { trace, parent, flags: SAMPLED, state: TraceState::default() }
    }

    /// The trace of the call that is served, which has these headers; one that begins here where it has none.
    pub fn of_call(headers: &MetadataMap) -> Self {
        Self::of_span(&Span::current())
            .or_else(|| Self::of(headers.as_ref()))
            .unwrap_or_else(Self::begin)
    }

    /// The trace of a call with these headers, if it has one that can be read.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let context = Self::parse(headers.get(PARENT)?.to_str().ok()?)?;
        let states = headers.get_all(STATE).iter();
        let states: Vec<_> = states.filter_map(|state| state.to_str().ok()).collect();
        let states = Some(states.join(",")).filter(|states| states.len() <= MAX_STATE);
        let state = states.and_then(|states| states.parse().ok()).unwrap_or_default();
        Some(Self { state, ..context })
    }

    /// The same from the text of the first header: `version-trace id-parent id-flags`.
    fn parse(header: &str) -> Option<Self> {
        let mut fields = header.split('-');
        let (version, trace, parent) = (fields.next()?, fields.next()?, fields.next()?);
        let flags = fields.next()?;
        let hex = |text: &str, length: usize| {
            text.len() == length
                && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        let shaped = hex(version, 2) && hex(trace, 32) && hex(parent, 16) && hex(flags, 2);
        // Version ff is forbidden; version 00 has no more fields.
        if !shaped || version == "ff" || (version == "00" && fields.next().is_some()) {
            return None;
        }
        let trace = u128::from_str_radix(trace, 16).ok().filter(|&id| id != 0)?;
        let parent = u64::from_str_radix(parent, 16).ok().filter(|&id| id != 0)?;
        let flags = u8::from_str_radix(flags, 16).ok()? & SAMPLED;
        Some(Self { trace: TraceId(trace), parent, flags, state: TraceState::default() })
    }

    /// Where a span is, if spans are told to a collector.
    pub(crate) fn of_span(span: &Span) -> Option<Self> {
        let context = span.context();
        let context = context.span().span_context().clone();
        context.is_valid().then(|| Self {
            trace: TraceId(u128::from_be_bytes(context.trace_id().to_bytes())),
            parent: u64::from_be_bytes(context.span_id().to_bytes()),
            flags: context.trace_flags().to_u8(),
            state: context.trace_state().clone(),
        })
    }

    /// Makes a span the next one, where spans are told to a collector.
    pub(crate) fn adopt(self, span: &Span) {
        let context = SpanContext::new(
            self.trace.0.into(),
            SpanId::from(self.parent),
            TraceFlags::new(self.flags),
            true,
            self.state,
        );
        // Where nobody is told there is nothing to adopt.
        let _ = span.set_parent(Context::new().with_remote_span_context(context));
    }

    /// What names the trace.
    pub fn id(&self) -> TraceId {
        self.trace
    }

    /// Makes a call part of the trace: below the span that makes it, where spans are told to a collector.
    pub fn mark(&self, headers: &mut MetadataMap) {
        let context = Self::of_span(&Span::current()).unwrap_or_else(|| self.clone());
        let Self { trace, parent, flags, state } = context;
        let parent = format!("00-{trace}-{parent:016x}-{flags:02x}");
        for (header, value) in [(PARENT, parent), (STATE, state.header())] {
            if let Some(value) = MetadataValue::try_from(value).ok().filter(|it| !it.is_empty()) {
                headers.insert(header, value);
            }
        }
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_survives_the_way_through_headers() {
        let trace = TraceContext::begin();
        let mut headers = MetadataMap::new();
        assert_eq!(TraceContext::of(headers.as_ref()), None);
        trace.mark(&mut headers);
        assert_eq!(TraceContext::of(headers.as_ref()).as_ref(), Some(&trace));
        assert_eq!(TraceContext::of_call(&headers), trace);
    }

    #[test]
    fn what_other_tracers_tell_each_other_is_passed_on_and_bounded() {
        let passed_on = |states: &[&str]| {
            let mut headers = MetadataMap::new();
            TraceContext::begin().mark(&mut headers);
            for state in states {
                headers.append(STATE, state.parse().unwrap());
            }
            let mut next = MetadataMap::new();
            TraceContext::of(headers.as_ref()).unwrap().mark(&mut next);
            next.get(STATE).map(|state| state.to_str().unwrap().to_owned())
        };
        assert_eq!(passed_on(&["a=1,b=2"]).as_deref(), Some("a=1,b=2"));
        assert_eq!(passed_on(&["a=1", "b=2"]).as_deref(), Some("a=1,b=2"));
        assert_eq!(passed_on(&[]), None);
        assert_eq!(passed_on(&["no state at all"]), None);
        assert_eq!(passed_on(&[&format!("a={}", "x".repeat(MAX_STATE))]), None);
    }

    #[test]
    fn headers_are_read_as_w3c_writes_them() {
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        let parent = "00f067aa0ba902b7";
        let read = |text: &str| TraceContext::parse(text).map(|trace| trace.id().to_string());
        assert_eq!(read(&format!("00-{id}-{parent}-01")).as_deref(), Some(id));
        // A later version may have more fields.
        assert_eq!(read(&format!("01-{id}-{parent}-01-more")).as_deref(), Some(id));
        for malformed in [
            String::new(),
            format!("00-{id}-{parent}"),
            format!("ff-{id}-{parent}-01"),
            format!("00-{id}-{parent}-01-more"),
            format!("00-{}-{parent}-01", id.to_uppercase()),
            format!("00-{}-{parent}-01", "0".repeat(32)),
            format!("00-{id}-{}-01", "0".repeat(16)),
            format!("00-{id}0-{parent}-01"),
        ] {
            assert_eq!(read(&malformed), None, "{malformed}");
        }
    }
}
