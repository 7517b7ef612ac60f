use std::path::Path;

use serde::Deserialize;
use serde_json::Value;
use tokenizers::normalizers::Precompiled;
use tokenizers::{AddedToken, NormalizedString, Normalizer};

use super::TokenizerError;

/// A hundred times T5's 103.
const MAX_TOKENS: usize = 10_000;
const MAX_TOKEN_BYTES: usize = 256;

/// A token with its flags, as all of the JSON files write it.
#[derive(Deserialize)]
pub(super) struct TokenFields {
    content: String,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    normalized: Option<bool>,
    #[serde(default)]
    pub(super) special: bool,
}

impl From<TokenFields> for AddedToken {
    fn from(fields: TokenFields) -> Self {
        let normalized = fields.normalized.unwrap_or(!fields.special);
        AddedToken::from(fields.content, fields.special)
            .single_word(fields.single_word)
            .lstrip(fields.lstrip)
            .rstrip(fields.rstrip)
            .normalized(normalized)
    }
}

/// A token that a setting gives as text (then it is special) or with flags; `None` for any other value.
pub(super) fn from_value(value: &Value) -> Option<AddedToken> {
    match value {
        Value::String(content) => Some(AddedToken::from(content, true)),
        Value::Object(_) => TokenFields::deserialize(value).ok().map(Into::into),
        _ => None,
    }
}

/// Refuses tokens that the library cannot look for: too many, too long, or white space alone, before or after normalization
/// (an empty one is found between any two bytes of a text).
pub(super) fn check(
    path: &Path,
    tokens: &[AddedToken],
    normalizer: Option<&Precompiled>,
) -> Result<(), TokenizerError> {
    if tokens.len() > MAX_TOKENS {
        return Err(TokenizerError::unfit(
            path,
            format!("at most {MAX_TOKENS} added tokens"),
            tokens.len().to_string(),
        ));
    }
    for token in tokens {
        let mut text = NormalizedString::from(token.content.as_str());
        if token.content.len() <= MAX_TOKEN_BYTES && token.normalized {
            normalizer.map_or(Ok(()), |normalizer| normalizer.normalize(&mut text)).map_err(
                |error| {
                    TokenizerError::unfit(
                        path,
                        "added tokens that can be normalized",
                        error.to_string(),
                    )
                },
            )?;
        }
        let blank = token.content.trim().is_empty() || text.get().trim().is_empty();
        if blank || token.content.len() > MAX_TOKEN_BYTES {
            let found = token.content.chars().take(40).collect::<String>();
            let expected =
                format!("added tokens of 1 to {MAX_TOKEN_BYTES} bytes, not of white space alone");
            return Err(TokenizerError::unfit(
                path,
                expected,
                format!("{found:?} ({} bytes)", token.content.len()),
            ));
        }
    }
    Ok(())
}
