/// Characters of a name.
const MAX_LENGTH: usize = 64;

/// Passes a name that an adapter can have: 1 to 64 letters, digits, '-', '_' or '.', the first a
/// letter or a digit.
///
/// # Errors
/// What was expected and found.
pub fn check_adapter_name(name: &str) -> Result<(), String> {
    let is_first = |first: char| first.is_ascii_alphanumeric();
    let is_rest = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let fits = name.len() <= MAX_LENGTH && name.starts_with(is_first) && name.chars().all(is_rest);
    if fits {
        return Ok(());
    }
    let found = match name.len() {
        0 => "nothing".to_owned(),
        // Not repeated in full: it may be megabytes.
        length if length > MAX_LENGTH => format!("a name of {length} bytes"),
        _ => format!("'{}'", name.escape_debug()),
    };
    Err(format!(
        "expected 1 to {MAX_LENGTH} letters, digits, '-', '_' or '.', the first a letter or a \
         digit, found {found}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain() {
        let longest = "x".repeat(64);
        for name in ["a", "7", "neon", "Neon-v1.5_r128", longest.as_str()] {
            assert_eq!(check_adapter_name(name), Ok(()), "{name}");
        }
        let too_long = "x".repeat(65);
        let bad =
            ["", ".", "..", "-a", "_a", ".hidden", "a/b", "a\\b", "a b", "é", "a\0", "a\n", "a=b"];
        for name in bad.into_iter().chain([too_long.as_str()]) {
            let error = check_adapter_name(name).unwrap_err();
            assert!(error.contains("found") && !error.contains('\n'), "{error}");
        }
    }
}
