use std::fmt;

use tonic::metadata::{MetadataMap, MetadataValue};

/// The header of W3C's trace context.
const HEADER: &str = "traceparent";

/// The trace that a call belongs to: one id from the client through every stage, so that their
/// logs can be read as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId(u128);

impl TraceId {
    /// A trace that begins here.
    pub fn random() -> Self {
        // All zeros is no id.
        Self(fastrand::u128(1..))
    }

    /// The trace of a call with these headers, if it has one that can be read.
    pub fn of(headers: &MetadataMap) -> Option<Self> {
        Self::parse(headers.get(HEADER)?.to_str().ok()?)
    }

    /// As [`TraceId::of`], from the text of the header: `version-trace id-parent id-flags`.
    pub(crate) fn parse(header: &str) -> Option<Self> {
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
        u128::from_str_radix(trace, 16).ok().filter(|&id| id != 0).map(Self)
    }

    /// Makes a call part of the trace.
    pub fn mark(self, headers: &mut MetadataMap) {
        let parent = fastrand::u64(1..);
        if let Ok(value) = MetadataValue::try_from(format!("00-{self}-{parent:016x}-01")) {
            headers.insert(HEADER, value);
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
        let trace = TraceId::random();
        let mut headers = MetadataMap::new();
        assert_eq!(TraceId::of(&headers), None);
        trace.mark(&mut headers);
        assert_eq!(TraceId::of(&headers), Some(trace));
    }

    #[test]
    fn headers_are_read_as_w3c_writes_them() {
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        let parent = "00f067aa0ba902b7";
        let read = |text: &str| TraceId::parse(text).map(|trace| trace.to_string());
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
            format!("00-{id}0-{parent}-01"),
        ] {
            assert_eq!(read(&malformed), None, "{malformed}");
        }
    }
}
