//! A bad file gives one clear error, and never a panic or more memory than its size explains.

use proptest::prelude::*;
use prost::Message;
use serde_json::{Value, json};

use super::{demo_file, multilingual, open, open_pieces};
use crate::tokenizer::sentencepiece::{ModelProto, NormalizerSpec, TrainerSpec};
use crate::tokenizer::{JSON_FILE, SENTENCEPIECE_FILE, Tokenizer, TokenizerError};

const TEXT: &str = "Ａ panda… é\u{301} <extra_id_0> 熊猫 ﷺ </s>";

/// The error's text, without the folder.
#[track_caller]
fn error(result: Result<Tokenizer, TokenizerError>) -> String {
    let message = result.map(|_| ()).expect_err("the file is malformed").to_string();
    match message.split_once(": ") {
        Some((path, rest)) => format!("{}: {rest}", path.rsplit('/').next().unwrap()),
        None => message,
    }
}

#[track_caller]
fn check(result: Result<Tokenizer, TokenizerError>, expected: &str) {
    assert_eq!(error(result), expected);
}

fn changed(change: impl FnOnce(&mut ModelProto)) -> Vec<u8> {
    let mut model = ModelProto::decode(multilingual().as_slice()).unwrap();
    change(&mut model);
    model.encode_to_vec()
}

fn with_charsmap(map: &[u8]) -> Vec<u8> {
    changed(|model| {
        model.normalizer_spec = Some(NormalizerSpec { precompiled_charsmap: Some(map.to_vec()) })
    })
}

/// A character map of a trie and replacements.
fn charsmap(units: &[u32], replacements: &[u8]) -> Vec<u8> {
    let trie = units.iter().flat_map(|unit| unit.to_le_bytes());
    (units.len() as u32 * 4)
        .to_le_bytes()
        .into_iter()
        .chain(trie)
        .chain(replacements.iter().copied())
        .collect()
}

/// A trie that replaces `a`: the root's children start at unit 0, and the leaf of `a` (unit 97) lies at unit 0.
fn trie_of_a(value: u32) -> Vec<u32> {
    let mut units = vec![0; 256];
    units[97] = 97 << 10 | 1 << 8 | 97;
    units[0] = 0;
    // The value of the leaf, which is the root's unit too when it stays 0.
    if value != 0 {
        units[0] = 1 << 10;
        units[97] = 0;
        units[96] = 98 << 10 | 1 << 8 | 97;
        units[2] = 1 << 31 | value;
    }
    units
}

fn demo_json(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut json = serde_json::from_slice(&demo_file(JSON_FILE)).unwrap();
    change(&mut json);
    serde_json::to_vec(&json).unwrap()
}

fn open_json(json: &[u8]) -> Result<Tokenizer, TokenizerError> {
    open(&[(JSON_FILE, json)], 8)
}

fn open_settings(settings: Value) -> Result<Tokenizer, TokenizerError> {
    let settings = serde_json::to_vec(&settings).unwrap();
    open(&[(SENTENCEPIECE_FILE, &multilingual()), ("tokenizer_config.json", &settings)], 8)
}

#[test]
fn a_folder_without_a_vocabulary_is_named() {
    let message = open(&[], 8).map(|_| ()).unwrap_err().to_string();
    assert!(
        message.ends_with(": expected spiece.model or tokenizer.json, found neither"),
        "{message}"
    );
    for found in [0, 65_537, usize::MAX] {
        let expected = format!("expected a token limit of 1 to 65536, found {found}");
        check(open(&[(SENTENCEPIECE_FILE, &multilingual())], found), &expected);
    }
}

#[test]
fn a_truncated_model_is_refused_wherever_it_breaks_off() {
    let whole = multilingual();
    for length in 0..whole.len() {
        let message = error(open_pieces(&whole[..length]));
        let in_field = message
            .starts_with("spiece.model: expected a SentencePiece model, found malformed bytes: ");
        let between = message.starts_with(
            "spiece.model: expected pieces, a trainer_spec and a normalizer_spec, found the end",
        );
        assert!(in_field || between, "{length} bytes: {message}");
    }
    let expected = "spiece.model: expected a vocabulary of 3 to 1048576 pieces, found 2 pieces";
    check(open_pieces(&changed(|model| model.pieces.truncate(2))), expected);
}

#[test]
fn a_model_that_is_not_t5s_is_refused() {
    let of_type = |model_type| {
        changed(|model| model.trainer_spec = Some(TrainerSpec { model_type: Some(model_type) }))
    };
    check(
        open_pieces(&of_type(2)),
        "spiece.model: expected a unigram model (type 1), found a model of type 2 (bpe)",
    );
    check(
        open_pieces(&changed(|model| model.pieces.swap(0, 2))),
        "spiece.model: expected T5's unknown token as piece 2, found piece 2 \"<pad>\" of another kind",
    );
}

#[test]
fn pieces_that_cannot_be_used_are_refused() {
    let piece = |text: &str| changed(|model| model.pieces[9].piece = Some(text.into()));
    check(
        open_pieces(&piece("")),
        "spiece.model: expected pieces of 1 to 256 bytes, found 0 bytes in piece 9",
    );
    check(
        open_pieces(&piece(&"x".repeat(300))),
        "spiece.model: expected pieces of 1 to 256 bytes, found 300 bytes in piece 9",
    );
    for score in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let message = error(open_pieces(&changed(|model| model.pieces[3].score = Some(score))));
        assert!(message.starts_with("spiece.model: expected finite scores, found"), "{message}");
    }
}

#[test]
fn a_character_map_that_leads_out_of_itself_is_refused() {
    let open = |map: &[u8]| open_pieces(&with_charsmap(map));
    let unsound = "spiece.model: expected a character map with a sound trie, found";
    let unfit =
        "spiece.model: expected a character map of a length, a trie and replacements, found";
    check(open(b"abc"), &format!("{unfit} 3 unfit bytes"));
    check(open(&[0xff, 0xff, 0xff, 0xff, 0, 0]), &format!("{unfit} 6 unfit bytes"));
    check(open(&charsmap(&[], b"")), &format!("{unfit} 4 unfit bytes"));
    check(open(&charsmap(&[0; 10], b"")), &format!("{unsound} a node at 0 of 10 units"));
    check(
        open(&charsmap(&[u32::MAX >> 1; 256], b"")),
        &format!("{unsound} a node at 536870656 of 256 units"),
    );
    check(
        open(&charsmap(&trie_of_a(3), b"b\0")),
        &format!("{unsound} a replacement at byte 3 of 2 bytes"),
    );
    check(
        open(&charsmap(&trie_of_a(1), "é\0".as_bytes())),
        &format!("{unsound} a replacement at byte 1 of 3 bytes"),
    );
    check(
        open(&charsmap(&trie_of_a(0), &[b'b'; 300])),
        &format!("{unsound} a replacement of more than 64 bytes"),
    );
    let message = error(open(&charsmap(&trie_of_a(0), &[0xff])));
    assert!(
        message.starts_with(
            "spiece.model: expected a character map with replacements in UTF-8, found"
        ),
        "{message}"
    );
}

#[test]
fn a_sound_character_map_is_used() {
    for (value, replacements) in [(0, "e\0"), (2, "x\0e\0")] {
        let tokenizer =
            open_pieces(&with_charsmap(&charsmap(&trie_of_a(value), replacements.as_bytes())))
                .unwrap();
        assert_eq!(
            tokenizer.encode("panda"),
            open_pieces(&multilingual()).unwrap().encode("pende")
        );
    }
}

#[test]
fn a_tokenizer_json_that_is_not_t5s_is_refused() {
    let of = |change: fn(&mut Value)| error(open_json(&demo_json(change)));
    assert_eq!(
        of(|json| json["model"] = json!({"type": "BPE", "vocab": {"a": 0}, "merges": []})),
        "tokenizer.json: expected a model of type Unigram, found BPE"
    );
    assert_eq!(
        of(|json| json["model"]["vocab"] = json!([])),
        "tokenizer.json: expected a vocabulary of 3 to 1048576 pieces, found 0 pieces"
    );
    assert_eq!(
        of(|json| json["model"]["unk_id"] = json!(0)),
        "tokenizer.json: expected unk_id 2, found 0"
    );
    assert_eq!(
        of(|json| json["normalizer"]["precompiled_charsmap"] = json!("%%")),
        "tokenizer.json: expected a precompiled_charsmap in base64, found Invalid symbol 37, offset 0."
    );
    assert_eq!(
        of(|json| json["normalizer"]["precompiled_charsmap"] = json!("/////w==")),
        "tokenizer.json: expected a character map of a length, a trie and replacements, found 4 unfit bytes"
    );
    for broken in [
        &b""[..],
        b"{",
        b"[]",
        b"{\"model\": {\"vocab\": [[\"a\", NaN]]}}",
        b"\xff\xfe",
        &demo_file(JSON_FILE)[..9000],
    ] {
        let message = error(open_json(broken));
        assert!(message.starts_with("tokenizer.json: expected a tokenizer's JSON: "), "{message}");
    }
    assert!(
        of(|json| json["model"]["vocab"][5] = json!(["x", "y"]))
            .contains("invalid type: string \"y\"")
    );
}

#[test]
fn settings_that_cannot_be_used_are_refused() {
    let refused = |settings, expected: &str| {
        check(open_settings(settings), &format!("tokenizer_config.json: expected {expected}"))
    };
    refused(json!({"eos_token": null}), "eos_token: a token, found none");
    refused(
        json!({"pad_token": 3}),
        "pad_token: a token as text or with its flags, found a number",
    );
    refused(json!({"extra_ids": 1_000_000_000}), "extra_ids: at most 4096, found 1000000000");
    refused(json!({"extra_ids": -1}), "extra_ids: at most 4096, found a number");
    refused(json!({"padding_side": "middle"}), "padding_side: left or right, found a text");
    refused(
        json!({"added_tokens_decoder": {"x": {"content": "a"}}}),
        "added_tokens_decoder: ids as keys, found \"x\"",
    );
    refused(
        json!({"added_tokens_decoder": {"1": {}}}),
        "added_tokens_decoder: tokens, found missing field `content`",
    );
    refused(json!({"extra_special_tokens": "x"}), "extra_special_tokens: a list, found a text");
    let of_tokens =
        "spiece.model: expected added tokens of 1 to 256 bytes, not of white space alone, found";
    check(open_settings(json!({"bos_token": ""})), &format!("{of_tokens} \"\" (0 bytes)"));
    check(
        open_settings(json!({"bos_token": " \u{3000}"})),
        &format!("{of_tokens} \" \\u{{3000}}\" (4 bytes)"),
    );
    assert!(error(open_settings(json!({"bos_token": "x".repeat(257)}))).ends_with("(257 bytes)"));
    assert!(
        error(open_settings(json!([1])))
            .starts_with("tokenizer_config.json: expected a tokenizer's JSON: ")
    );
}

#[test]
fn an_added_token_that_normalization_removes_is_refused() {
    let settings = serde_json::to_vec(
        &json!({"added_tokens_decoder": {"9": {"content": "\u{1}", "normalized": true}}}),
    )
    .unwrap();
    let model = demo_file(SENTENCEPIECE_FILE);
    let result = open(&[(SENTENCEPIECE_FILE, &model), ("tokenizer_config.json", &settings)], 8);
    assert!(error(result).contains("not of white space alone, found \"\\u{1}\" (1 bytes)"));
}

#[test]
fn a_file_far_too_large_is_refused() {
    let model = vec![0; (16 << 20) + 1];
    check(open_pieces(&model), "spiece.model: expected at most 16777216 bytes, found more");
}

/// Changes to the bytes of a file: some overwritten, a part cut out or repeated, the end cut off.
fn mutate(bytes: &mut Vec<u8>, edits: &[(prop::sample::Index, u8, u8)]) {
    for (index, kind, value) in edits {
        if bytes.is_empty() {
            return;
        }
        let at = index.index(bytes.len());
        let end = (at + *value as usize).min(bytes.len());
        match kind % 8 {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..end)),
            2 => bytes.extend_from_within(at..end),
            3 => bytes.insert(at, *value),
            4 => bytes[at] ^= 1 << (value % 8),
            _ => bytes[at] = *value,
        }
    }
}

fn edits() -> impl Strategy<Value = Vec<(prop::sample::Index, u8, u8)>> {
    prop::collection::vec(any::<(prop::sample::Index, u8, u8)>(), 1..6)
}

proptest! {
    #[test]
    fn a_changed_model_is_refused_or_usable(edits in edits()) {
        let mut model = multilingual();
        mutate(&mut model, &edits);
        if let Ok(tokenizer) = open_pieces(&model) {
            prop_assert_eq!(tokenizer.encode(TEXT).ids.len(), 32);
        }
    }

    #[test]
    fn any_bytes_are_refused_or_usable(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(tokenizer) = open_pieces(&bytes) {
            prop_assert_eq!(tokenizer.encode(TEXT).ids.len(), 32);
        }
    }

    #[test]
    fn a_changed_character_map_is_refused_or_usable(edits in edits(), value in 0_u32..4) {
        let mut map = charsmap(&trie_of_a(value), "x\0é\0".as_bytes());
        mutate(&mut map, &edits);
        if let Ok(tokenizer) = open_pieces(&with_charsmap(&map)) {
            prop_assert_eq!(tokenizer.encode(&format!("{TEXT} banana")).ids.len(), 32);
        }
    }

    #[test]
    fn changed_settings_are_refused_or_usable(edits in edits()) {
        let mut settings = br#"{"added_tokens_decoder": {"1": {"content": "</s>", "lstrip": true}, "9": {"content": "p",
            "normalized": true, "rstrip": true}}, "extra_ids": 100, "pad_token": "<pad>", "padding_side": "left"}"#.to_vec();
        mutate(&mut settings, &edits);
        let files = [(SENTENCEPIECE_FILE, &multilingual()[..]), ("tokenizer_config.json", &settings[..])];
        if let Ok(tokenizer) = open(&files, 32) {
            prop_assert_eq!(tokenizer.encode(TEXT).ids.len(), 32);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_changed_real_character_map_is_refused_or_usable(edits in edits()) {
        let model = ModelProto::decode(demo_file(SENTENCEPIECE_FILE).as_slice()).unwrap();
        let mut map = model.normalizer_spec.unwrap().precompiled_charsmap.unwrap();
        mutate(&mut map, &edits);
        if let Ok(tokenizer) = open_pieces(&with_charsmap(&map)) {
            prop_assert_eq!(tokenizer.encode(TEXT).ids.len(), 32);
        }
    }

    #[test]
    fn a_changed_tokenizer_json_is_refused_or_usable(edits in edits()) {
        let mut json = demo_json(|json| {
            json.as_object_mut().unwrap().shift_remove("normalizer");
            json["model"]["vocab"].as_array_mut().unwrap().truncate(40);
            json["added_tokens"].as_array_mut().unwrap().truncate(4);
        });
        mutate(&mut json, &edits);
        if let Ok(tokenizer) = open_json(&json) {
            prop_assert_eq!(tokenizer.encode(TEXT).ids.len(), 8);
        }
    }
}
