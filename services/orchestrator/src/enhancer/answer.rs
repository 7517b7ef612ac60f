use serde::Deserialize;

/// Bytes of an answer: a thousand times what one takes.
pub(super) const MAX_ANSWER_BYTES: usize = 1 << 20;

/// What some models write before they answer.
const THOUGHTS: (&str, &str) = ("<think>", "</think>");

/// Why an answer ends that was longer than asked for.
const CUT: &str = "length";

#[derive(Deserialize)]
struct Answer {
    choices: Vec<Choice>,
}

#[derive(Deserialize)]
struct Choice {
    message: Message,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Message {
    content: Option<String>,
}

/// The prompt in an answer of `chat/completions`, on one line and without control characters, or what was found in its place.
pub(super) fn prompt_of(answer: &[u8], max_chars: usize) -> Result<String, String> {
    let answer: Answer = serde_json::from_slice(answer)
        .map_err(|_| "no answer of chat completions (--prompt-enhancer)".to_owned())?;
    let choice = answer.choices.into_iter().next().ok_or_else(|| "no text".to_owned())?;
    let content = choice.message.content.ok_or_else(|| "no text".to_owned())?;
    let mut prompt = cleaned(without_thoughts(&content)?);
    if choice.finish_reason.as_deref() == Some(CUT) {
        prompt.truncate(end_of_last_sentence(&prompt));
    }
    match prompt.chars().count() {
        0 => Err("an empty one".to_owned()),
        found if found > max_chars => {
            Err(format!("one of {found} characters, {max_chars} at most"))
        }
        _ => Ok(prompt),
    }
}

fn without_thoughts(content: &str) -> Result<&str, String> {
    let Some(thoughts) = content.trim_start().strip_prefix(THOUGHTS.0) else { return Ok(content) };
    let answer = thoughts.split_once(THOUGHTS.1).map(|(_, answer)| answer);
    answer.ok_or_else(|| "thoughts without an answer".to_owned())
}

/// Where the last whole sentence ends; at the end where there is none.
fn end_of_last_sentence(text: &str) -> usize {
    text.rfind(['.', '!', '?']).map_or(text.len(), |at| at + 1)
}

/// One line, without marks around it.
fn cleaned(text: &str) -> String {
    let is_break = |c: char| c.is_whitespace() || c.is_control();
    let words: Vec<_> = text.split(is_break).filter(|word| !word.is_empty()).collect();
    let line = words.join(" ");
    let inner = line.strip_prefix('"').and_then(|line| line.strip_suffix('"'));
    match inner {
        Some(inner) if !inner.contains('"') => inner.trim().to_owned(),
        _ => line,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn read(content: &str) -> Result<String, String> {
        let answer = json!({"id": "x", "choices": [{"index": 0, "message": {"role": "assistant", "content": content}}]});
        prompt_of(answer.to_string().as_bytes(), 40)
    }

    #[test]
    fn an_answer_becomes_one_plain_line() {
        for (content, expected) in [
            ("a red fox", "a red fox"),
            ("  a\nred\r\n\tfox \u{7}", "a red fox"),
            ("\"a red fox\"", "a red fox"),
            ("\"a\" red \"fox\"", "\"a\" red \"fox\""),
            ("<think>hm</think>\n\na red fox", "a red fox"),
            ("a\u{1b}[31m fox", "a [31m fox"),
            ("un zorro é 狐", "un zorro é 狐"),
        ] {
            assert_eq!(read(content).unwrap(), expected);
        }
    }

    #[test]
    fn what_is_no_prompt_is_refused() {
        for content in ["", " \n", "\"\"", "<think>a red", &"a".repeat(41)] {
            assert!(read(content).is_err(), "{content}");
        }
        for answer in [
            "",
            "<html>",
            "{}",
            "[]",
            r#"{"choices": []}"#,
            r#"{"choices": [{"message": {"content": null}}]}"#,
            r#"{"choices": [{"message": {"content": 3}}]}"#,
            r#"{"error": {"message": "no"}}"#,
        ] {
            assert!(prompt_of(answer.as_bytes(), 40).is_err(), "{answer}");
        }
        assert!(prompt_of(&[0xff; 10], 40).is_err());
    }

    proptest! {
        #[test]
        fn whatever_is_said_becomes_one_line_of_few_characters_or_nothing(content in any::<String>()) {
            if let Ok(prompt) = read(&content) {
                prop_assert!((1..=40).contains(&prompt.chars().count()));
                prop_assert!(!prompt.contains(char::is_control) && prompt.trim() == prompt);
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = prompt_of(&bytes, 40);
        }
    }
}
