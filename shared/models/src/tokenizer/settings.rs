mod reader;

use std::collections::HashSet;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;
use tokenizers::AddedToken;

use super::TokenizerError;
use super::vocabulary::Vocabulary;
use reader::Reader;

/// `extra_ids` when the settings say nothing, and the most that are taken.
const EXTRA_IDS: u64 = 100;
const MAX_EXTRA_IDS: u64 = 4096;

/// An end of the list of ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) enum Side {
    #[serde(alias = "left")]
    Left,
    #[serde(alias = "right")]
    Right,
}

/// What the JSON files beside a vocabulary say, as `PreTrainedTokenizerBase._from_pretrained` and `T5Tokenizer` read them.
pub(super) struct Settings {
    /// Tokens that are looked for in the text before any piece is, in the order in which new ones take ids.
    pub(super) added_tokens: Vec<AddedToken>,
    pub(super) eos_token: String,
    pub(super) pad_token: String,
    pub(super) padding_side: Side,
    pub(super) truncation_side: Side,
    /// Whether special tokens in the text are read as plain text.
    pub(super) split_special_tokens: bool,
}

impl Settings {
    /// Reads the settings in `dir`. The extra ids join the pieces of a `spiece.model`, which lacks them.
    pub(super) fn read(dir: &Path, vocabulary: &mut Vocabulary) -> Result<Self, TokenizerError> {
        let (reader, listed) = Reader::read(dir, &vocabulary.added_tokens)?;
        let extra_ids =
            reader.get("extra_ids", "at most 4096", Value::as_u64)?.unwrap_or(EXTRA_IDS);
        if extra_ids > MAX_EXTRA_IDS {
            return Err(reader.unfit(
                "extra_ids",
                &format!("at most {MAX_EXTRA_IDS}"),
                extra_ids.to_string(),
            ));
        }
        let extra_tokens: Vec<String> =
            (0..extra_ids).map(|index| format!("<extra_id_{index}>")).collect();
        if vocabulary.marked_tokens.is_some() {
            vocabulary.pieces.extend(extra_tokens.iter().rev().map(|token| (token.clone(), 0.0)));
        }

        let named = reader.named_tokens(&listed)?;
        let content_of = |name: &str| {
            let token =
                named.iter().find(|(key, _)| key == name).map(|(_, token)| token.content.clone());
            token.ok_or_else(|| reader.unfit(name, "a token", "none".into()))
        };
        let (eos_token, pad_token) = (content_of("eos_token")?, content_of("pad_token")?);
        let extra = reader.extra_tokens(vocabulary.marked_tokens.take(), &extra_tokens)?;
        let known: HashSet<String> = listed.values().map(|token| token.content.clone()).collect();
        let names: HashSet<String> = named.iter().map(|(_, token)| token.content.clone()).collect();
        let unknown = named
            .into_iter()
            .map(|(_, token)| token)
            .chain(extra)
            .filter(|token| !known.contains(&token.content));
        let mut added_tokens: Vec<AddedToken> = listed.into_values().chain(unknown).collect();
        for token in &mut added_tokens {
            token.special |= names.contains(&token.content);
        }
        let side = |key, of_file: Option<Side>| {
            let stated = reader.get(key, "left or right", |value| Side::deserialize(value).ok())?;
            Ok(stated.or(of_file).unwrap_or(Side::Right))
        };
        Ok(Self {
            added_tokens,
            eos_token,
            pad_token,
            padding_side: side("padding_side", vocabulary.padding_side)?,
            truncation_side: side("truncation_side", vocabulary.truncation_side)?,
            split_special_tokens: reader
                .get("split_special_tokens", "true or false", Value::as_bool)?
                .unwrap_or(false),
        })
    }
}
