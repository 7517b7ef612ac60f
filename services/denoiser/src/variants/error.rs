use std::io;
use std::path::PathBuf;

use cogwheel_engine::EngineError;
use cogwheel_lora::MergeError;
use cogwheel_models::checkpoint::CheckpointError;

/// Why there is no variant.
#[derive(Debug, thiserror::Error)]
pub enum VariantError {
    /// The base's weights are not what its config calls for.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The adapters could not be merged into them.
    #[error(transparent)]
    Merge(#[from] MergeError),
    /// The merged weights do not fit the graph.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The folder of the cache cannot be used.
    #[error("--variant-cache {}: expected a folder to write in: {source}", .folder.display())]
    Cache {
        /// The folder.
        folder: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Pinned variants that do not fit into memory together.
    #[error(
        "pinned variant of {bytes} bytes: expected room for it beside the other pinned ones, found a budget of {budget} bytes: raise --variant-memory"
    )]
    Budget {
        /// Its size.
        bytes: u64,
        /// For all variants.
        budget: u64,
    },
    /// A thread of the process failed.
    #[error("merging: {0}")]
    Thread(String),
}

impl VariantError {
    /// The queue for merges is never closed.
    pub(super) fn closed(error: tokio::sync::AcquireError) -> Self {
        Self::Thread(error.to_string())
    }
}
