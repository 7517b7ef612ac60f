use std::time::Duration;

use tonic::metadata::MetadataMap;

/// The caller's deadline, from the `grpc-timeout` header of its request: up to eight digits and a
/// unit (gRPC over HTTP/2). tonic itself enforces it only until a stream's first byte, so streams
/// enforce it themselves. A header that cannot be read is no deadline.
pub(crate) fn deadline_of(metadata: &MetadataMap) -> Option<Duration> {
    let text = metadata.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let value: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(value * 3600),
        "M" => Duration::from_secs(value * 60),
        "S" => Duration::from_secs(value),
        "m" => Duration::from_millis(value),
        "u" => Duration::from_micros(value),
        "n" => Duration::from_nanos(value),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(header: &str, expected: Option<Duration>) {
        let mut metadata = MetadataMap::new();
        metadata.insert("grpc-timeout", header.parse().unwrap());
        assert_eq!(deadline_of(&metadata), expected, "{header:?}");
    }

    #[test]
    fn timeouts_are_read_as_grpc_writes_them() {
        check("5S", Some(Duration::from_secs(5)));
        check("1500m", Some(Duration::from_millis(1500)));
        check("99999999H", Some(Duration::from_secs(99_999_999 * 3600)));
        check("7u", Some(Duration::from_micros(7)));
        for malformed in ["", "S", "5", "5s", "-5S", "+5S", "123456789S", "5 S", "½S"] {
            if malformed.is_ascii() {
                check(malformed, None);
            }
        }
        assert_eq!(deadline_of(&MetadataMap::new()), None);
    }
}
