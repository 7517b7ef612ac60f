use std::collections::BTreeMap;
use std::path::Path;

use tokenizers::AddedToken;

use super::TokenizerError;
use super::settings::Side;

/// The id of the unknown token: fixed by `T5Tokenizer`, whatever the file says.
pub(super) const UNKNOWN_ID: usize = 2;

/// Far above the largest unigram vocabularies in use (256,000 pieces of 2.5 MB in all); a piece is held in a tree of one
/// node a byte, so these bound its memory and its depth.
const MAX_PIECES: usize = 1 << 20;
const MAX_PIECE_BYTES: usize = 256;
const MAX_TOTAL_BYTES: usize = 4 << 20;

/// What a vocabulary file holds, in the one form that `spiece.model` and `tokenizer.json` share.
pub(super) struct Vocabulary {
    /// Pieces with their scores (log probabilities); the index is the id.
    pub(super) pieces: Vec<(String, f64)>,
    /// SentencePiece's compiled normalization, where there is one.
    pub(super) charsmap: Option<Vec<u8>>,
    /// Control and user-defined pieces of a `spiece.model`; `None` for a `tokenizer.json`.
    pub(super) marked_tokens: Option<Vec<AddedToken>>,
    /// `added_tokens` of a `tokenizer.json`, by id.
    pub(super) added_tokens: BTreeMap<i64, AddedToken>,
    /// Where a `tokenizer.json` pads, if it says.
    pub(super) padding_side: Option<Side>,
    /// Where a `tokenizer.json` cuts, if it says.
    pub(super) truncation_side: Option<Side>,
}

impl Vocabulary {
    /// Holds the vocabulary to what the unigram model can take: enough pieces, none too long, finite scores.
    pub(super) fn check(&self, path: &Path) -> Result<(), TokenizerError> {
        let unfit =
            |expected: String, found: String| Err(TokenizerError::unfit(path, expected, found));
        let count = self.pieces.len();
        if count <= UNKNOWN_ID || count > MAX_PIECES {
            return unfit(
                format!("a vocabulary of {} to {MAX_PIECES} pieces", UNKNOWN_ID + 1),
                format!("{count} pieces"),
            );
        }
        for (id, (piece, score)) in self.pieces.iter().enumerate() {
            if piece.is_empty() || piece.len() > MAX_PIECE_BYTES {
                return unfit(
                    format!("pieces of 1 to {MAX_PIECE_BYTES} bytes"),
                    format!("{} bytes in piece {id}", piece.len()),
                );
            }
            if !score.is_finite() {
                return unfit("finite scores".into(), format!("{score} for piece {id}, {piece:?}"));
            }
        }
        let total: usize = self.pieces.iter().map(|(piece, _)| piece.len()).sum();
        if total > MAX_TOTAL_BYTES {
            return unfit(
                format!("a vocabulary of at most {MAX_TOTAL_BYTES} bytes"),
                format!("{total} bytes"),
            );
        }
        Ok(())
    }
}
