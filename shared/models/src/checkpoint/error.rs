use std::path::PathBuf;

use cogwheel_weights::WeightsError;

use crate::config::ConfigError;

/// Why a folder cannot be used as a checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// There is no such folder.
    #[error("{}: expected a checkpoint folder in diffusers' layout, found {found}", dir.display())]
    NoFolder {
        /// The path given.
        dir: PathBuf,
        /// What is there.
        found: &'static str,
    },
    /// Files are missing.
    #[error("{}: expected a complete checkpoint in diffusers' layout, found no {}", dir.display(), missing.join(", no "))]
    Incomplete {
        /// The folder.
        dir: PathBuf,
        /// Every file that is missing, by its path in the folder.
        missing: Vec<String>,
    },
    /// A config is malformed, not supported, or at odds with another.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Weights are malformed or not those that the config calls for.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The token embedding is there twice and differs.
    #[error("{}: expected 'shared.weight' and 'encoder.embed_tokens.weight' to be one, found them to differ", path.display())]
    TiedEmbedding {
        /// The text encoder's weights.
        path: PathBuf,
    },
}
