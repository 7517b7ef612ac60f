use cogwheel_diffusion::{
    geometry::TokenGrid,
    positions::{RopeGrid, rope_3d, sincos_3d},
};
use cogwheel_engine::{EngineError, Input, Placed, Session, WeightSource};
use cogwheel_graph::WeightSlot;
use cogwheel_models::{config::TransformerConfig, names::POSITION_TABLE, transformer::io};
use cogwheel_tensor::{DType, Tensor, TensorError};

use super::ForwardError;

/// The graph's inputs that say where each token is.
#[derive(Debug)]
pub(super) struct Positions {
    /// Added to the video's tokens, or to all of them where there is a learned table.
    added: Option<Placed>,
    /// Cosines and sines that turn queries and keys of the whole sequence.
    rotary: Option<[Placed; 2]>,
}

/// Reads the learned table of a checkpoint, fp32 `[1, max_text_seq_length + tokens, inner_dim]`.
pub(super) fn learned(
    config: &TransformerConfig,
    weights: &dyn WeightSource,
) -> Result<Tensor, ForwardError> {
    let sample = sample_grid(config);
    let rows = config.max_text_seq_length + sample.token_count();
    let shape = vec![1, rows, config.inner_dim()];
    let slot = WeightSlot { name: POSITION_TABLE.to_owned(), dtype: DType::F32, shape };
    let table = weights
        .weight(&slot)
        .map_err(|source| EngineError::Weight { name: slot.name.clone(), source })?;
    if table.shape() != slot.shape {
        let (expected, found) = (format!("{:?}", slot.shape), table.shape().to_vec());
        return Err(ForwardError::Shape { what: POSITION_TABLE, expected, found });
    }
    Ok(table)
}

impl Positions {
    /// For a grid of tokens, where `session` computes. A learned `table` serves the size that it was learned for; other numbers of frames take
    /// sines and cosines in its place, as diffusers does, and no other height or width is possible.
    pub(super) fn new(
        config: &TransformerConfig,
        grid: TokenGrid,
        table: Option<&Tensor>,
        session: &Session,
    ) -> Result<Self, ForwardError> {
        let rotary = config.use_rotary_positional_embeddings;
        let rotary = rotary.then(|| rotary_tables(config, grid)).transpose()?;
        let added = match table {
            None if rotary.is_some() => None,
            None => Some(sincos(config, grid, 0)?),
            Some(table) => {
                let sample = sample_grid(config);
                if (grid.height, grid.width) != (sample.height, sample.width) {
                    return Err(ForwardError::Shape {
                        what: "tokens of a frame, whose positions are learned",
                        expected: format!("{:?}", [sample.height, sample.width]),
                        found: vec![grid.height, grid.width],
                    });
                }
                match grid.frames == sample.frames {
                    true => Some(table.clone()),
                    false => Some(sincos(config, grid, config.max_text_seq_length)?),
                }
            }
        };
        let placed = |[cos, sin]: [Tensor; 2]| -> Result<[Placed; 2], EngineError> {
            Ok([session.place(cos)?, session.place(sin)?])
        };
        Ok(Self {
            added: added.map(|table| session.place(table)).transpose()?,
            rotary: rotary.map(placed).transpose()?,
        })
    }

    /// For a grid of any size, without what a table has learned: it is read where the model has one all the same.
    pub(super) fn unlearned(
        config: &TransformerConfig,
        grid: TokenGrid,
        has_table: bool,
        session: &Session,
    ) -> Result<Self, ForwardError> {
        let unlearned = Self::new(config, grid, None, session)?;
        let added = match has_table {
            true => Some(session.place(sincos(config, grid, config.max_text_seq_length)?)?),
            false => unlearned.added,
        };
        Ok(Self { added, ..unlearned })
    }

    pub(super) fn inputs(&self) -> Vec<(&'static str, Input<'_>)> {
        let added = self.added.iter().map(|table| (io::POSITIONS, table.into()));
        let rotary = self.rotary.iter().flatten().map(Input::from);
        added.chain([io::ROTARY_COS, io::ROTARY_SIN].into_iter().zip(rotary)).collect()
    }
}

/// The tokens of the size that the model was made for.
fn sample_grid(config: &TransformerConfig) -> TokenGrid {
    TokenGrid {
        frames: config.sample_latent_frames(),
        height: config.sample_height / config.patch_size,
        width: config.sample_width / config.patch_size,
    }
}

/// Sines and cosines below `text` rows of zeros.
fn sincos(
    config: &TransformerConfig,
    grid: TokenGrid,
    text: usize,
) -> Result<Tensor, ForwardError> {
    let inner = config.inner_dim();
    let (spatial, temporal) =
        (config.spatial_interpolation_scale, config.temporal_interpolation_scale);
    let table = sincos_3d(inner, grid, spatial, temporal)?;
    let mut rows = vec![0.0; text * inner];
    rows.extend(table);
    Ok(Tensor::from_f32([1, text + grid.token_count(), inner], rows)?)
}

/// The video's tables below rows that turn the text's tokens by nothing.
fn rotary_tables(config: &TransformerConfig, grid: TokenGrid) -> Result<[Tensor; 2], ForwardError> {
    let base = (config.sample_height / config.patch_size, config.sample_width / config.patch_size);
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
    Ok([joint(1.0, table.cos)?, joint(0.0, table.sin)?])
}
