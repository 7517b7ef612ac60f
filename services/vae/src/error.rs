use cogwheel_engine::EngineError;
use cogwheel_models::{BuildError, checkpoint::CheckpointError};
use cogwheel_tensor::{DType, TensorError};

/// Why latents were not decoded, or frames not encoded.
#[derive(Debug, thiserror::Error)]
pub enum VaeError {
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
    /// The frames are not such as this model encodes.
    #[error(
        "frames: expected U8 or F32 [frames, height, width, 3], none of them 0, height and width multiples of {multiple}, \
         found {dtype} {shape:?}"
    )]
    Frames {
        /// Pixels of a latent.
        multiple: usize,
        /// Their dtype.
        dtype: DType,
        /// Their shape.
        shape: Vec<usize>,
    },
    /// What a tile became is not as large as the tile.
    #[error("a tile: expected F32 [frames, ..{expected:?}], found {dtype} {shape:?}")]
    Tile {
        /// Channels, height and width.
        expected: [usize; 3],
        /// Their dtype.
        dtype: DType,
        /// Their shape.
        shape: Vec<usize>,
    },
    /// Frames larger than a machine can address.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}
