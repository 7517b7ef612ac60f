//! The graph of CogVideoX's transformer, from its config.

mod attention;
mod block;
mod embedding;
mod modulation;
mod output;
mod stream;

use cogwheel_graph::{Dim, GraphBuilder, GraphError, Model};
use cogwheel_tensor::DType;

use crate::config::TransformerConfig;
use block::Block;
use modulation::TimeEmbedding;
use stream::Shapes;

/// Names of the graph's inputs and of its output.
pub mod io {
    /// `[batch, tokens, channels * patch_size^2]` (times `patch_size_t`): latents cut into patches.
    pub const PATCHES: &str = "patches";
    /// `[batch, max_text_seq_length, text_embed_dim]`: what the text encoder gave.
    pub const TEXT: &str = "text";
    /// `[1, inner_dim]`: the timestep, shared by the batch, as sines and cosines.
    pub const TIMESTEP_PROJECTION: &str = "timestep_projection";
    /// `[1, tokens, inner_dim]`: sin-cos positions of the video's tokens.
    pub const POSITIONS: &str = "positions";
    /// `[max_text_seq_length + tokens, attention_head_dim / 2]`: 1 for text, then the video's.
    pub const ROTARY_COS: &str = "rotary_cos";
    /// The same shape: 0 for text, then the video's.
    pub const ROTARY_SIN: &str = "rotary_sin";
    /// `[batch, tokens, out_channels * patch_size^2]` (times `patch_size_t`): the prediction.
    pub const PREDICTION: &str = "prediction";
}

/// Why no graph can be made of a config.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TransformerError {
    /// The config asks for a part that graphs are not made with.
    #[error("transformer config: `{key}` is not supported yet")]
    Unsupported {
        /// The key in `transformer/config.json`.
        key: &'static str,
    },
    /// The parts do not fit together.
    #[error(transparent)]
    Graph(#[from] GraphError),
}

/// diffusers' `CogVideoXTransformer3DModel.forward`, computed in `dtype`, for any batch and any
/// number of video tokens. Weights keep their names in the checkpoint.
///
/// Two things differ from diffusers without changing a value beyond rounding: one timestep serves
/// the batch, so that modulation acts on the norms' vectors instead of on every token; and the
/// text's last block, which nothing reads, is left out.
///
/// # Errors
/// [`TransformerError::Unsupported`] for a learned position table and for `ofs_embed_dim`.
pub fn transformer(config: &TransformerConfig, dtype: DType) -> Result<Model, TransformerError> {
    if config.use_learned_positional_embeddings {
        return Err(TransformerError::Unsupported { key: "use_learned_positional_embeddings" });
    }
    if config.ofs_embed_dim.is_some() {
        return Err(TransformerError::Unsupported { key: "ofs_embed_dim" });
    }
    let mut builder = GraphBuilder::new("transformer");
    build(&mut builder, config, dtype)?;
    Ok(builder.finish())
}

fn build(
    g: &mut GraphBuilder,
    config: &TransformerConfig,
    dtype: DType,
) -> Result<(), GraphError> {
    let time = TimeEmbedding::new(g, config, dtype)?;
    let mut stream = embedding::embed(g, config, dtype)?;
    let shapes = Shapes::of(g, &stream.video, config)?;
    let rotary = attention::Rotary::new(g, config, dtype)?;
    for index in 0..config.num_layers {
        let block = Block { config, time: &time, rotary: rotary.as_ref(), shapes: &shapes };
        stream = g.scoped(format!("transformer_blocks.{index}"), |g| {
            block.build(g, stream, index + 1 == config.num_layers)
        })?;
    }
    let prediction = output::project(g, config, &time, &shapes, &stream.video)?;
    let features = patch_features(config) * config.out_channels;
    let dims = [Dim::Free("batch"), Dim::Free("tokens"), Dim::Fixed(features)];
    g.output(io::PREDICTION, &prediction, &dims)
}

/// Latents that one patch holds of each channel.
fn patch_features(config: &TransformerConfig) -> usize {
    config.patch_size * config.patch_size * config.patch_size_t.unwrap_or(1)
}
