//! No text makes the tokenizer fail, and a long one costs little.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{demo_file, multilingual, open};
use crate::tokenizer::{JSON_FILE, SENTENCEPIECE_FILE, Tokenizer};

const LIMIT: usize = 24;

/// Some hundred times what a text of this size takes, so that a slow machine passes and a cost that grows with the square of
/// the length does not.
const PATIENCE: Duration = Duration::from_secs(20);

/// Every flag that an added token can have, on top of a character map.
const SETTINGS: &str = r#"{"added_tokens_decoder": {
    "1": {"content": "</s>", "lstrip": true, "rstrip": true, "special": true},
    "9000": {"content": "<a>", "single_word": true, "normalized": true},
    "9001": {"content": "é", "lstrip": true, "rstrip": true, "normalized": true}}}"#;

fn tokenizers() -> [Tokenizer; 3] {
    let settings = ("tokenizer_config.json", SETTINGS.as_bytes());
    [
        open(&[(SENTENCEPIECE_FILE, &multilingual())], LIMIT).unwrap(),
        open(&[(SENTENCEPIECE_FILE, &demo_file(SENTENCEPIECE_FILE)), settings], LIMIT).unwrap(),
        open(&[(JSON_FILE, &demo_file(JSON_FILE)), settings], LIMIT).unwrap(),
    ]
}

fn text() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        4 => any::<char>().prop_map(String::from),
        2 => "[ -~]{0,6}",
        2 => r"\p{Any}{0,4}",
        3 => prop::sample::select(vec![
            " ", "\t\n", "\0", "\u{ad}", "\u{200b}", "\u{301}", "\u{feff}", "\u{2581}", "</s>", "<a>", "<pad>", "é", "É",
            "<extra_id_7>", "\u{1f469}\u{200d}\u{1f467}", "\u{fdfa}", "熊猫", "\u{3099}", "\u{1e}",
        ]).prop_map(str::to_owned),
    ];
    prop::collection::vec(part, 0..40).prop_map(|parts| parts.concat())
}

#[test]
fn every_text_becomes_as_many_ids_of_the_vocabulary_as_the_limit() {
    let tokenizers = tokenizers();
    proptest!(|(text in text())| {
        for tokenizer in &tokenizers {
            let encoding = tokenizer.encode(&text);
            prop_assert_eq!(encoding.ids.len(), LIMIT);
            prop_assert!(encoding.ids.iter().all(|&id| (0..tokenizer.vocab_size() as i64).contains(&id)));
            prop_assert_eq!(encoding.cut_tokens, encoding.token_count.saturating_sub(LIMIT));
            prop_assert_eq!(encoding.truncated, encoding.cut_tokens > 0);
        }
    });
}

#[test]
fn a_text_of_100_000_characters_takes_little_time() {
    let tokenizers = tokenizers();
    for unit in [
        "a",
        "a ",
        " ",
        "\u{2581}",
        "e\u{301}",
        "</s>",
        "</s> ",
        " é",
        "\u{1f469}\u{200d}",
        "</s",
        "\u{fdfa}",
        "a circle, 熊猫 ",
    ] {
        let text: String = unit.chars().cycle().take(100_000).collect();
        for tokenizer in &tokenizers {
            let start = Instant::now();
            assert_eq!(tokenizer.encode(&text).ids.len(), LIMIT);
            println!("{unit:?} {:?}", start.elapsed());
            assert!(start.elapsed() < PATIENCE, "{unit:?} took {:?}", start.elapsed());
        }
    }
}
