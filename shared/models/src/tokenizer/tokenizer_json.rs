use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::Value;

use super::added_tokens::TokenFields;
use super::settings::Side;
use super::vocabulary::{UNKNOWN_ID, Vocabulary};
use super::{TokenizerError, file};

/// Thirteen times T5's 2.4 MB.
const MAX_BYTES: u64 = 32 << 20;

/// Reads the `tokenizer.json` of the tokenizers library, with a unigram model.
///
/// Only what `T5Tokenizer` uses of it is read: of its normalizers the first character map, and no pre-tokenizer or
/// post-processor.
pub(super) fn read(path: &Path) -> Result<Vocabulary, TokenizerError> {
    let bytes = file::read(path, MAX_BYTES)?;
    let malformed = |source| TokenizerError::Json { path: path.to_owned(), source };
    // The model's type comes first: a vocabulary of another type has another structure.
    let kind: ModelKind = serde_json::from_slice(&bytes).map_err(malformed)?;
    if let Some(found) = kind.model.kind.filter(|kind| kind != "Unigram") {
        return Err(TokenizerError::unfit(path, "a model of type Unigram", found));
    }
    let json: TokenizerJson = serde_json::from_slice(&bytes).map_err(malformed)?;
    if let Some(found) = json.model.unk_id.filter(|&id| id != UNKNOWN_ID) {
        return Err(TokenizerError::unfit(path, format!("unk_id {UNKNOWN_ID}"), found.to_string()));
    }
    let charsmap = json
        .normalizer
        .as_ref()
        .and_then(charsmap_of)
        .map(|text| BASE64_STANDARD.decode(text))
        .transpose();
    Ok(Vocabulary {
        pieces: json.model.vocab,
        charsmap: charsmap
            .map_err(|error| {
                TokenizerError::unfit(path, "a precompiled_charsmap in base64", error.to_string())
            })?
            .filter(|map| !map.is_empty()),
        marked_tokens: None,
        added_tokens: json
            .added_tokens
            .unwrap_or_default()
            .into_iter()
            .map(|added| (added.id, added.token.into()))
            .collect(),
        padding_side: json.padding.and_then(|padding| padding.direction),
        truncation_side: json.truncation.and_then(|truncation| truncation.direction),
    })
}

/// The first character map of a normalizer, or of the list in a `Sequence`.
fn charsmap_of(normalizer: &Value) -> Option<&str> {
    let list = match normalizer.get("normalizers").filter(|_| normalizer["type"] == "Sequence") {
        Some(list) => list.as_array()?.as_slice(),
        None => std::slice::from_ref(normalizer),
    };
    list.iter()
        .filter(|one| one["type"] == "Precompiled")
        .find_map(|one| one["precompiled_charsmap"].as_str())
}

#[derive(Deserialize)]
struct ModelKind {
    model: Kind,
}

#[derive(Deserialize)]
struct Kind {
    #[serde(rename = "type")]
    kind: Option<String>,
}

#[derive(Deserialize)]
struct TokenizerJson {
    model: Model,
    normalizer: Option<Value>,
    added_tokens: Option<Vec<AddedTokenJson>>,
    padding: Option<Direction>,
    truncation: Option<Direction>,
}

#[derive(Deserialize)]
struct Model {
    unk_id: Option<usize>,
    vocab: Vec<(String, f64)>,
}

#[derive(Deserialize)]
struct AddedTokenJson {
    id: i64,
    #[serde(flatten)]
    token: TokenFields,
}

#[derive(Deserialize)]
struct Direction {
    direction: Option<Side>,
}
