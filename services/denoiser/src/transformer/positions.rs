use cogwheel_diffusion::{
    geometry::TokenGrid,
    positions::{RopeGrid, rope_3d, sincos_3d},
};
use cogwheel_engine::Input;
use cogwheel_models::{config::TransformerConfig, transformer::io};
use cogwheel_tensor::{Tensor, TensorError};

use super::ForwardError;

/// The graph's inputs that say where each token is.
#[derive(Debug)]
pub(super) enum Positions {
    /// Added to the video's tokens.
    SinCos(Tensor),
    /// Turning queries and keys of the whole sequence.
    Rotary {
        /// Cosines.
        cos: Tensor,
        /// Sines.
        sin: Tensor,
    },
}

impl Positions {
    /// For a grid of tokens.
    pub(super) fn new(config: &TransformerConfig, grid: TokenGrid) -> Result<Self, ForwardError> {
        match config.use_rotary_positional_embeddings {
            true => Self::rotary(config, grid),
            false => {
                let inner = config.inner_dim();
                let (spatial, temporal) =
                    (config.spatial_interpolation_scale, config.temporal_interpolation_scale);
                let table = sincos_3d(inner, grid, spatial, temporal)?;
                Ok(Self::SinCos(Tensor::from_f32([1, grid.token_count(), inner], table)?))
            }
        }
    }

    /// The video's table below rows that turn the text's tokens by nothing.
    fn rotary(config: &TransformerConfig, grid: TokenGrid) -> Result<Self, ForwardError> {
        let base =
            (config.sample_height / config.patch_size, config.sample_width / config.patch_size);
        let placement = match config.patch_size_t {
            None => RopeGrid::Cropped { base_height: base.0, base_width: base.1 },
            Some(_) => RopeGrid::Sliced { max_height: base.0, max_width: base.1 },
        };
        let table = rope_3d(config.attention_head_dim, grid, placement)?;
        let half = config.attention_head_dim / 2;
        let length = config.max_text_seq_length;
        let joint = |of_text: f32, of_video: Vec<f32>| -> Result<Tensor, TensorError> {
            let mut rows = vec![of_text; length * half];
            rows.extend(of_video);
            Tensor::from_f32([length + grid.token_count(), half], rows)
        };
        Ok(Self::Rotary { cos: joint(1.0, table.cos)?, sin: joint(0.0, table.sin)? })
    }

    pub(super) fn inputs(&self) -> Vec<(&'static str, Input<'_>)> {
        match self {
            Self::SinCos(table) => vec![(io::POSITIONS, table.into())],
            Self::Rotary { cos, sin } => {
                vec![(io::ROTARY_COS, cos.into()), (io::ROTARY_SIN, sin.into())]
            }
        }
    }
}
