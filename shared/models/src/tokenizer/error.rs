use std::path::{Path, PathBuf};

/// What is wrong with a checkpoint's `tokenizer/` folder.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// No vocabulary.
    #[error("{}: expected spiece.model or tokenizer.json, found neither", folder.display())]
    Missing {
        /// The `tokenizer/` folder.
        folder: PathBuf,
    },
    /// A file that the system does not give.
    #[error("{}: cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A file far greater than any tokenizer's.
    #[error("{}: expected at most {limit} bytes, found more", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Bytes that are read of such a file.
        limit: u64,
    },
    /// Bytes that are no SentencePiece model.
    #[error("{}: expected a SentencePiece model, found malformed bytes: {source}", path.display())]
    Protobuf {
        /// The file.
        path: PathBuf,
        /// Where the message breaks off.
        source: prost::DecodeError,
    },
    /// Text that is no JSON, or JSON of another structure.
    #[error("{}: expected a tokenizer's JSON: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Line, column, and what is there.
        source: serde_json::Error,
    },
    /// A well-formed file with content that T5 cannot use.
    #[error("{}: expected {expected}, found {found}", path.display())]
    Unfit {
        /// The file.
        path: PathBuf,
        /// What T5 calls for.
        expected: String,
        /// What the file has.
        found: String,
    },
    /// No room for `</s>`, or more ids than any text encoder takes.
    #[error("expected a token limit of 1 to {limit}, found {found}")]
    MaxLength {
        /// The most that is taken.
        limit: usize,
        /// What was asked for.
        found: usize,
    },
}

impl TokenizerError {
    pub(super) fn unfit(path: &Path, expected: impl Into<String>, found: String) -> Self {
        Self::Unfit { path: path.to_owned(), expected: expected.into(), found }
    }
}
