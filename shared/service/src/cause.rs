use std::error::Error;

/// What the innermost cause of an error says; `None` where it has none. Errors of clients hold the URL further out, which
/// may hold a secret.
pub fn innermost_cause(error: &dyn Error) -> Option<String> {
    std::iter::successors(error.source(), |&cause| cause.source()).last().map(ToString::to_string)
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] io::Error);

    #[test]
    fn the_innermost_speaks_and_one_alone_has_no_cause() {
        let error = Outer(io::Error::other("inner"));
        assert_eq!(innermost_cause(&error).as_deref(), Some("inner"));
        assert_eq!(innermost_cause(&io::Error::from(io::ErrorKind::NotFound)), None);
    }
}
