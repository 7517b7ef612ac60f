//! Ids against transformers' `T5Tokenizer`: tools/reference/tokenizer.py says how the expected ones are made.

use std::path::{Path, PathBuf};

use prost::Message;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{demo_file, folder, multilingual, repository};
use crate::tokenizer::sentencepiece::{ModelProto, NormalizerSpec};
use crate::tokenizer::{JSON_FILE, SENTENCEPIECE_FILE, Tokenizer};

#[derive(Deserialize)]
struct Reference {
    texts: Vec<Text>,
    folders: Vec<Folder>,
}

#[derive(Deserialize)]
struct Text {
    text: String,
    repeat: Option<usize>,
}

#[derive(Deserialize)]
struct Folder {
    name: String,
    vocabularies: Vec<String>,
    settings: Map<String, Value>,
    max_length: usize,
    vocab_size: usize,
    pad_id: i64,
    pad_left: bool,
    lengths: Vec<usize>,
    ids: Vec<Vec<i64>>,
}

#[test]
fn ids_equal_those_of_transformers() {
    check(&repository().join("tests/data/tokenizer.json"), |vocabulary| match vocabulary {
        "spiece" => demo_file(SENTENCEPIECE_FILE),
        "json" => demo_file(JSON_FILE),
        "multilingual" => multilingual(),
        "multilingual_normalized" => [multilingual(), demo_charsmap()].concat(),
        other => panic!("no vocabulary {other}"),
    });
}

/// For a full-size tokenizer, too large for the repository: see tools/reference/tokenizer.py.
#[test]
#[ignore = "needs COGWHEEL_T5_TOKENIZER_DIR and COGWHEEL_T5_TOKENIZER_EXPECTED"]
fn ids_equal_those_of_transformers_for_a_given_tokenizer() {
    let variable = |name| PathBuf::from(std::env::var_os(name).expect(name));
    let (folder, expected) =
        (variable("COGWHEEL_T5_TOKENIZER_DIR"), variable("COGWHEEL_T5_TOKENIZER_EXPECTED"));
    check(&expected, |vocabulary| {
        let file = if vocabulary == "json" { JSON_FILE } else { SENTENCEPIECE_FILE };
        std::fs::read(folder.join(file)).unwrap()
    });
}

fn check(reference: &Path, vocabulary: impl Fn(&str) -> Vec<u8>) {
    let reference: Reference = serde_json::from_slice(&std::fs::read(reference).unwrap()).unwrap();
    let mut differences = Vec::new();
    let mut count = 0;
    for expected in &reference.folders {
        let tokenizer = open_expected(expected, &vocabulary);
        assert_eq!(tokenizer.vocab_size(), expected.vocab_size, "{}", expected.name);
        assert_eq!(tokenizer.token_limit(), expected.max_length, "{}", expected.name);
        for ((text, ids), &length) in
            reference.texts.iter().zip(&expected.ids).zip(&expected.lengths)
        {
            let text = text.text.repeat(text.repeat.unwrap_or(1));
            let mut padded = vec![expected.pad_id; expected.max_length - ids.len()];
            let at = if expected.pad_left { padded.len() } else { 0 };
            padded.splice(at..at, ids.iter().copied());
            let found = tokenizer.encode(&text);
            let cut = length.saturating_sub(expected.max_length);
            let counts = (found.token_count, found.truncated, found.cut_tokens);
            count += 1;
            if found.ids != padded || counts != (length, cut > 0, cut) {
                let start: String = text.chars().take(60).collect();
                differences.push(format!(
                    "{}: {start:?}\n  expected {length} {padded:?}\n  found {found:?}",
                    expected.name
                ));
            }
        }
    }
    println!("{count} encodings compared");
    let shown = differences.iter().take(8).map(String::as_str).collect::<Vec<_>>().join("\n");
    assert!(differences.is_empty(), "{} of {count} differ:\n{shown}", differences.len());
}

fn open_expected(expected: &Folder, vocabulary: impl Fn(&str) -> Vec<u8>) -> Tokenizer {
    let mut files = Vec::new();
    for name in &expected.vocabularies {
        let file = if name == "json" { JSON_FILE } else { SENTENCEPIECE_FILE };
        files.push((file, vocabulary(name)));
    }
    for (file, content) in &expected.settings {
        files.push((file, serde_json::to_vec(content).unwrap()));
    }
    let files: Vec<_> = files.iter().map(|(file, content)| (*file, content.as_slice())).collect();
    Tokenizer::open(folder(&files).path(), expected.max_length).unwrap()
}

/// The demo model's character map as a message of its own: appended to a model it becomes that model's.
fn demo_charsmap() -> Vec<u8> {
    let demo = ModelProto::decode(demo_file(SENTENCEPIECE_FILE).as_slice()).unwrap();
    let precompiled_charsmap = demo.normalizer_spec.unwrap().precompiled_charsmap;
    let normalizer_spec = Some(NormalizerSpec { precompiled_charsmap });
    ModelProto { pieces: Vec::new(), trainer_spec: None, normalizer_spec }.encode_to_vec()
}
