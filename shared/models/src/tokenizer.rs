//! Prompts to the ids that the text encoder takes, as transformers' `T5Tokenizer` gives them.

mod added_tokens;
mod charsmap;
mod error;
mod file;
mod sentencepiece;
mod settings;
#[cfg(test)]
mod tests;
mod tokenizer_json;
mod vocabulary;

use std::path::Path;

use tokenizers::models::unigram::Unigram;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::metaspace::{Metaspace, PrependScheme};
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::whitespace::WhitespaceSplit;

pub use error::TokenizerError;
use settings::{Settings, Side};
use vocabulary::{UNKNOWN_ID, Vocabulary};

const SENTENCEPIECE_FILE: &str = "spiece.model";
const JSON_FILE: &str = "tokenizer.json";

/// Some three hundred times the 226 of the published models: every encoding is as long as its limit.
const MAX_TOKEN_LIMIT: usize = 1 << 16;

/// The tokenizer of a checkpoint: SentencePiece unigram with T5's special tokens.
///
/// The ids are those of transformers 5.23
/// `T5Tokenizer.from_pretrained(folder)(text, padding="max_length", max_length=max_length, truncation=True)`. That class takes
/// the pieces and the character map of the file and replaces everything else: text is split at white space, every word is
/// given `▁` in front, the unknown token is id 2, and `</s>` ends the text.
pub struct Tokenizer {
    backend: tokenizers::Tokenizer,
    eos_id: u32,
    pad_id: u32,
    padding_side: Side,
    truncation_side: Side,
    token_limit: usize,
    vocab_size: usize,
}

/// A text as ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoding {
    /// Token ids, exactly as many as the tokenizer's limit: text, `</s>`, padding.
    pub ids: Vec<i64>,
    /// Tokens of the whole text with its `</s>`, before truncation and without padding.
    pub token_count: usize,
    /// Whether the text has more tokens than the limit.
    pub truncated: bool,
    /// Tokens of the text that were left out.
    pub cut_tokens: usize,
}

impl Tokenizer {
    /// Reads a checkpoint's `tokenizer/` folder: `tokenizer.json` where there is one (as transformers does), else
    /// `spiece.model`, with `tokenizer_config.json`, or the older `special_tokens_map.json` and `added_tokens.json`.
    ///
    /// `max_length` is the number of ids in every [`Encoding`]: 1 to 65,536.
    ///
    /// # Errors
    /// [`TokenizerError`], naming the file, when neither file is there, or one cannot be read, is malformed, or holds another
    /// tokenizer than T5's.
    pub fn open(dir: &Path, max_length: usize) -> Result<Self, TokenizerError> {
        if !(1..=MAX_TOKEN_LIMIT).contains(&max_length) {
            return Err(TokenizerError::MaxLength { limit: MAX_TOKEN_LIMIT, found: max_length });
        }
        let (json, pieces) = (dir.join(JSON_FILE), dir.join(SENTENCEPIECE_FILE));
        let (path, mut vocabulary) = if json.is_file() {
            (&json, tokenizer_json::read(&json)?)
        } else if pieces.is_file() {
            (&pieces, sentencepiece::read(&pieces)?)
        } else {
            return Err(TokenizerError::Missing { folder: dir.to_owned() });
        };
        vocabulary.check(path)?;
        let settings = Settings::read(dir, &mut vocabulary)?;
        Self::build(path, vocabulary, settings, max_length)
    }

    fn build(
        path: &Path,
        vocabulary: Vocabulary,
        settings: Settings,
        token_limit: usize,
    ) -> Result<Self, TokenizerError> {
        let normalizer = vocabulary
            .charsmap
            .as_deref()
            .map(|map| charsmap::normalizer(path, map))
            .transpose()?;
        added_tokens::check(path, &settings.added_tokens, normalizer.as_ref())?;

        let piece_count = vocabulary.pieces.len();
        let unigram =
            Unigram::from(vocabulary.pieces, Some(UNKNOWN_ID), false).map_err(|error| {
                TokenizerError::unfit(path, "a unigram vocabulary", error.to_string())
            })?;
        let mut backend = tokenizers::Tokenizer::new(unigram);
        backend.with_normalizer(normalizer);
        backend.with_pre_tokenizer(Some(Sequence::new(vec![
            PreTokenizerWrapper::WhitespaceSplit(WhitespaceSplit),
            PreTokenizerWrapper::Metaspace(Metaspace::new('▁', PrependScheme::Always, true)),
        ])));
        backend.add_tokens(&settings.added_tokens);
        backend.set_encode_special_tokens(settings.split_special_tokens);

        let id_of = |token: &str| {
            backend.token_to_id(token).ok_or_else(|| {
                TokenizerError::unfit(path, format!("the token {token:?}"), "none".into())
            })
        };
        let (eos_id, pad_id) = (id_of(&settings.eos_token)?, id_of(&settings.pad_token)?);
        let added_ids =
            backend.get_added_tokens_decoder().keys().map(|&id| id as usize + 1).max().unwrap_or(0);
        Ok(Self {
            backend,
            eos_id,
            pad_id,
            padding_side: settings.padding_side,
            truncation_side: settings.truncation_side,
            token_limit,
            vocab_size: piece_count.max(added_ids),
        })
    }

    /// The ids of `text`, cut to the limit with `</s>` kept, or filled up to it with the padding token.
    pub fn encode(&self, text: &str) -> Encoding {
        let encoded = self.backend.encode_fast(text, false).expect(
            "the vocabulary has an unknown token, for want of which alone a unigram model fails",
        );
        let tokens = encoded.get_ids();
        let cut_tokens = (tokens.len() + 1).saturating_sub(self.token_limit);
        let kept = match self.truncation_side {
            Side::Right => &tokens[..tokens.len() - cut_tokens],
            Side::Left => &tokens[cut_tokens..],
        };
        let padding = std::iter::repeat_n(self.pad_id, self.token_limit - kept.len() - 1);
        let text_ids = kept.iter().copied().chain([self.eos_id]);
        let ids = match self.padding_side {
            Side::Right => text_ids.chain(padding).map(i64::from).collect(),
            Side::Left => padding.chain(text_ids).map(i64::from).collect(),
        };
        Encoding { ids, token_count: tokens.len() + 1, truncated: cut_tokens > 0, cut_tokens }
    }

    /// Ids in every [`Encoding`], `</s>` and padding included.
    pub fn token_limit(&self) -> usize {
        self.token_limit
    }

    /// One more than the greatest id: at most the text encoder's `vocab_size` (32,100 of 32,128 in the published models).
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }
}
