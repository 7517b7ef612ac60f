//! The graph of CogVideoX's transformer, from its config.

mod attention;
mod block;
mod chunks;
mod embedding;
mod layers;
mod linear;
mod modulation;
mod output;
mod whole;

use cogwheel_graph::{Dim, GraphBuilder, GraphError, Model, Value};
use cogwheel_tensor::DType;

use crate::config::TransformerConfig;
use attention::Rotary;
use block::Block;
pub use chunks::Chunks;
use chunks::Layout;
use modulation::TimeEmbedding;

/// Names of the graph's inputs and of its output.
pub mod io {
    /// `[batch, tokens, channels * patch_size^2]` (times `patch_size_t`): latents cut into patches.
    pub const PATCHES: &str = "patches";
    /// `[batch, max_text_seq_length, text_embed_dim]`: what the text encoder gave.
    pub const TEXT: &str = "text";
    /// `[1, inner_dim]`: the timestep, shared by the batch, as sines and cosines.
    pub const TIMESTEP_PROJECTION: &str = "timestep_projection";
    /// `[1, ofs_embed_dim]`: the number that 1.5's image-to-video model is given beside it, likewise.
    pub const OFS_PROJECTION: &str = "ofs_projection";
    /// `[1, tokens, inner_dim]`: sin-cos positions of the video's tokens; in a model with a learned table
    /// `[1, max_text_seq_length + tokens, inner_dim]`, those of the text first.
    pub const POSITIONS: &str = "positions";
    /// `[max_text_seq_length + tokens, attention_head_dim / 2]`: 1 for text, then the video's.
    pub const ROTARY_COS: &str = "rotary_cos";
    /// The same shape: 0 for text, then the video's.
    pub const ROTARY_SIN: &str = "rotary_sin";
    /// `[video chunks, rows]`, i64: see [`Chunks`](super::Chunks), as for the next three.
    pub const VIDEO_CHUNKS: &str = "video_chunks";
    /// `[text chunks, rows]`, i64.
    pub const TEXT_CHUNKS: &str = "text_chunks";
    /// `[chunks]`, i64.
    pub const CHUNK_KINDS: &str = "chunk_kinds";
    /// `[batch, max_text_seq_length + tokens]`, i64.
    pub const SEQUENCES: &str = "sequences";
    /// `[batch, tokens, out_channels * patch_size^2]` (times `patch_size_t`): the prediction.
    pub const PREDICTION: &str = "prediction";
}

/// How a graph of the transformer computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// Of weights and of everything that every token has; the graph's inputs and its output are fp32 all the same.
    pub dtype: DType,
    /// In how many pieces.
    pub layout: TokenLayout,
}

/// In how many pieces the tokens go through everything but attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenLayout {
    /// Chunk by chunk, see [`Chunks`]: what a core's cache holds.
    Chunked,
    /// All at once, as a GPU wants it.
    Whole,
}

/// diffusers' `CogVideoXTransformer3DModel.forward` for any batch and any number of video tokens. Weights keep their names in
/// the checkpoint.
///
/// Two things differ from diffusers, none by more than rounding: one timestep serves the batch, so that modulation acts on the
/// norms' vectors (in fp32) instead of on every token; and what the last block makes of the text, which nothing reads, is left
/// out.
///
/// # Errors
/// [`GraphError`] where the parts do not fit together.
pub fn transformer(config: &TransformerConfig, form: Form) -> Result<Model, GraphError> {
    let mut builder = GraphBuilder::new("transformer");
    match form.layout {
        TokenLayout::Chunked => build(&mut builder, config, form.dtype)?,
        TokenLayout::Whole => whole::build(&mut builder, config, form.dtype)?,
    }
    Ok(builder.finish())
}

fn build(g: &mut GraphBuilder, config: &TransformerConfig, dtype: DType) -> Result<(), GraphError> {
    let time = TimeEmbedding::new(g, config, dtype)?;
    let layout = Layout::new(g, config)?;
    let rotary = Rotary::new(g, config, dtype)?;
    let joint = embedding::embed(g, config, dtype)?;
    let mut state = layout.chunked(g, &joint, &layout.all_chunks);

    // A block's second half and the next one's first are one pass over the chunks.
    let mut block = Block::new(g, config, &time, &layout, 0)?;
    let mut projected = block.begin(g, &state)?;
    for index in 0..config.num_layers {
        let attended = attention::attend(g, config, rotary.as_ref(), &layout, &projected)?;
        if index + 1 < config.num_layers {
            let next = Block::new(g, config, &time, &layout, index + 1)?;
            let attended = layout.chunked(g, &attended, &layout.all_chunks);
            (state, projected) = block.end_and_begin(g, &state, &attended, &next)?;
            block = next;
        } else {
            let state = layout.first_video_chunks(g, &state);
            let attended = layout.chunked(g, &attended, &layout.video_chunks);
            let output = output::Output::new(g, config, &time)?;
            let prediction = block.end_and_project(g, &state, &attended, &output)?;
            let prediction = layout.video_sequences(g, &prediction, output.features);
            output.give(g, &prediction)?;
        }
    }
    Ok(())
}

/// An fp32 input of the graph, as `dtype`.
fn input(
    g: &mut GraphBuilder,
    name: &str,
    dtype: DType,
    dims: &[Dim],
) -> Result<Value, GraphError> {
    let value = g.input(name, DType::F32, dims)?;
    Ok(g.cast(&value, dtype))
}

/// Whether the linear layer with the weight of this name is computed in bytes where a model is quantized: those of
/// attention and feed-forward, which take nearly all of the time, and those that modulate the blocks, which take a fifth of
/// the memory. The few others are where every token's error begins or ends.
pub fn is_quantized(weight: &str) -> bool {
    weight.starts_with("transformer_blocks.")
}

/// Latents that one patch holds of each channel.
fn patch_volume(config: &TransformerConfig) -> usize {
    config.patch_size * config.patch_size * config.patch_size_t.unwrap_or(1)
}
