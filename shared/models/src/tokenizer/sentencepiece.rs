use std::collections::BTreeMap;
use std::path::Path;

use prost::Message;
use tokenizers::AddedToken;

use super::vocabulary::{UNKNOWN_ID, Vocabulary};
use super::{TokenizerError, file};

/// Twenty times T5's 0.8 MB; a message of empty pieces takes 24 bytes of memory for each byte.
const MAX_BYTES: u64 = 16 << 20;

/// `TrainerSpec.ModelType.UNIGRAM`, the value of an absent field too.
const UNIGRAM: i32 = 1;

/// `SentencePiece.Type`.
const UNKNOWN: i32 = 2;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;

/// Reads a `spiece.model`: SentencePiece's `ModelProto`, trained as a unigram model.
///
/// Only what `T5Tokenizer` uses of it is read: `add_dummy_prefix`, `remove_extra_whitespaces` and `byte_fallback` are not.
pub(super) fn read(path: &Path) -> Result<Vocabulary, TokenizerError> {
    let bytes = file::read(path, MAX_BYTES)?;
    let model = ModelProto::decode(bytes.as_slice())
        .map_err(|source| TokenizerError::Protobuf { path: path.to_owned(), source })?;
    // SentencePiece writes both after the pieces: a file without them was cut off between two fields.
    let (Some(trainer_spec), Some(normalizer_spec)) = (model.trainer_spec, model.normalizer_spec)
    else {
        let found = format!("the end of the file after {} pieces", model.pieces.len());
        return Err(TokenizerError::unfit(
            path,
            "pieces, a trainer_spec and a normalizer_spec",
            found,
        ));
    };
    let model_type = trainer_spec.model_type.unwrap_or(UNIGRAM);
    if model_type != UNIGRAM {
        let name = match model_type {
            2 => "bpe",
            3 => "word",
            4 => "char",
            _ => "unknown",
        };
        return Err(TokenizerError::unfit(
            path,
            "a unigram model (type 1)",
            format!("a model of type {model_type} ({name})"),
        ));
    }
    if let Some(piece) = model.pieces.get(UNKNOWN_ID).filter(|piece| piece.kind != Some(UNKNOWN)) {
        let found = format!("piece {UNKNOWN_ID} {:?} of another kind", piece.piece());
        return Err(TokenizerError::unfit(path, "T5's unknown token as piece 2", found));
    }
    let marked = model.pieces.iter().filter_map(|piece| match piece.kind {
        Some(kind @ (CONTROL | USER_DEFINED)) => {
            Some(AddedToken::from(piece.piece(), kind == CONTROL).normalized(false))
        }
        _ => None,
    });
    Ok(Vocabulary {
        marked_tokens: Some(marked.collect()),
        charsmap: normalizer_spec.precompiled_charsmap.filter(|map| !map.is_empty()),
        pieces: model
            .pieces
            .into_iter()
            .map(|piece| (piece.piece.unwrap_or_default(), piece.score.unwrap_or(0.0).into()))
            .collect(),
        added_tokens: BTreeMap::new(),
        padding_side: None,
        truncation_side: None,
    })
}

// The fields that are used, of sentencepiece_model.proto (proto2).

#[derive(Clone, PartialEq, Message)]
pub(super) struct ModelProto {
    #[prost(message, repeated, tag = "1")]
    pub(super) pieces: Vec<SentencePiece>,
    #[prost(message, optional, tag = "2")]
    pub(super) trainer_spec: Option<TrainerSpec>,
    #[prost(message, optional, tag = "3")]
    pub(super) normalizer_spec: Option<NormalizerSpec>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct SentencePiece {
    #[prost(string, optional, tag = "1")]
    pub(super) piece: Option<String>,
    #[prost(float, optional, tag = "2")]
    pub(super) score: Option<f32>,
    #[prost(int32, optional, tag = "3")]
    pub(super) kind: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TrainerSpec {
    #[prost(int32, optional, tag = "3")]
    pub(super) model_type: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct NormalizerSpec {
    #[prost(bytes = "vec", optional, tag = "2")]
    pub(super) precompiled_charsmap: Option<Vec<u8>>,
}
