use cogwheel_engine::EngineError;
use cogwheel_models::{BuildError, checkpoint::CheckpointError};
use cogwheel_tensor::{DType, TensorError};

/// Why latents were not decoded.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The weights are not what the config calls for.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// No graph could be built of them.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The session could not be made or run, or was cancelled.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The latents are not those of this model.
    #[error(
        "latents: expected F32 [frames, {channels}, height, width], none of them 0, found {dtype} {shape:?}"
    )]
    Latents {
        /// Channels that the model's latents have.
        channels: usize,
        /// Their dtype.
        dtype: DType,
        /// Their shape.
        shape: Vec<usize>,
    },
    /// Frames larger than a machine can address.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}
