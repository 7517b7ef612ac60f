//! What messages show of what a user wrote: paths, names and values may be of any length.

use std::borrow::Cow;

/// Characters of a value that are shown.
const SHOWN: usize = 200;

/// A value as a message shows it: a very long one without its middle, since both ends of a path tell something.
pub(crate) fn value(text: &str) -> Cow<'_, str> {
    let at = |index: usize| text.char_indices().nth(index).map(|(at, _)| at);
    if at(SHOWN).is_none() {
        return text.into();
    }
    let length = text.chars().count();
    match (at(SHOWN / 2), at(length - SHOWN / 2)) {
        (Some(start), Some(end)) => format!("{}...{}", &text[..start], &text[end..]).into(),
        _ => text.into(),
    }
}

/// A message whose words are shown so, on one line.
pub(crate) fn message(text: &str) -> String {
    line(&text.split(' ').map(value).collect::<Vec<_>>().join(" "))
}

/// A line as a terminal can show it: files and servers may say anything, also what moves a cursor, turns the direction of
/// writing, or looks like another line of ours.
pub(crate) fn line(text: &str) -> String {
    let is_odd = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_odd(c) { shown.extend(c.escape_debug()) } else { shown.push(c) }
    }
    // What `escape_debug` leaves as it is.
    shown.replace(is_odd, "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_long_loses_its_middle_and_what_is_not_nothing() {
        assert_eq!(value(""), "");
        let fits = "é".repeat(200);
        assert_eq!(value(&fits), fits);
        let long = format!("start{}end", "é".repeat(100_000));
        let shown = value(&long);
        assert_eq!(shown.chars().count(), 203);
        assert!(shown.starts_with("start") && shown.ends_with("end") && shown.contains("..."));
    }

    #[test]
    fn what_moves_a_cursor_or_forges_a_line_is_written_out() {
        let found = line("a\u{1b}[31mb\u{7}\nnote: c\r\u{202e}\u{9b}d é 漢字");
        assert!(!found.chars().any(|c| c.is_control() || c == '\u{202e}'), "{found:?}");
        assert!(found.contains("\\u{1b}[31m") && found.contains("\\nnote: c"), "{found}");
        assert!(found.ends_with("d é 漢字"), "{found}");
    }

    #[test]
    fn a_message_keeps_its_words() {
        let long = "x".repeat(300);
        let found = message(&format!("--output {long}/a.mp4: expected a folder,  found nothing"));
        assert!(found.starts_with("--output xxx"), "{found}");
        assert!(found.ends_with("xxx/a.mp4: expected a folder,  found nothing"), "{found}");
        assert!(found.len() < 270, "{found}");
    }
}
