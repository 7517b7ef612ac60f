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

/// A message whose words are shown so.
pub(crate) fn message(text: &str) -> String {
    text.split(' ').map(value).collect::<Vec<_>>().join(" ")
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
    fn a_message_keeps_its_words() {
        let long = "x".repeat(300);
        let found = message(&format!("--output {long}/a.mp4: expected a folder,  found nothing"));
        assert!(found.starts_with("--output xxx"), "{found}");
        assert!(found.ends_with("xxx/a.mp4: expected a folder,  found nothing"), "{found}");
        assert!(found.len() < 270, "{found}");
    }
}
