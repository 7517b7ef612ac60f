//! The text encoder as a graph: T5 v1.1's encoder, as transformers' `T5EncoderModel` without an attention mask.

mod block;
mod relative_position;

use cogwheel_graph::{Dim, GraphBuilder, Model};
use cogwheel_tensor::DType;
use cogwheel_weights::{Strictness, Weights};

use crate::{BuildError, config::TextEncoderConfig, names};
use block::Block;

/// The graph's input: i64 [batch, tokens], ids below the config's `vocab_size`.
pub const INPUT_IDS: &str = "input_ids";

/// The graph's output: fp32 [batch, tokens, d_model].
pub const EMBEDDINGS: &str = "embeddings";

/// Builds the encoder for prompts of exactly `tokens` tokens, padding included, in fp32.
///
/// All weights are to be supplied under their names, but for the table of relative positions: it is the same in every
/// run, so the biases it gives are a constant of the graph.
///
/// # Errors
/// [`BuildError::Weights`], which lists the tensors that are missing or of another shape.
pub fn text_encoder(
    config: &TextEncoderConfig,
    weights: &Weights,
    tokens: usize,
) -> Result<Model, BuildError> {
    weights.check(&names::text_encoder_in(config, weights), Strictness::AllowExtra)?;
    let mut g = GraphBuilder::new("text_encoder");
    let dims = [Dim::Free("batch"), Dim::Fixed(tokens)];
    let ids = g.input(INPUT_IDS, DType::I64, &dims)?;
    let bias = relative_position::bias(config, weights, tokens)?;
    let position_bias = g.constant("position_bias", &bias);

    let width = config.d_model;
    let shape = [config.vocab_size, width];
    let table = g.weight(names::embedding_name(weights), DType::F32, &shape);
    // Rows of all prompts one after another, as the linear layers take them.
    let ids = g.reshape(&ids, &[-1]);
    let mut x = g.gather(&table, &ids, 0);
    for index in 0..config.num_layers {
        let block = Block { config, tokens, position_bias: &position_bias, index };
        x = block.apply(&mut g, &x)?;
    }
    let scale = g.weight("encoder.final_layer_norm.weight", DType::F32, &[width]);
    let x = g.rms_norm(&x, &scale, config.layer_norm_epsilon as f32)?;
    let x = g.reshape(&x, &[-1, tokens as i64, width as i64]);
    g.output(EMBEDDINGS, &x, &[Dim::Free("batch"), Dim::Fixed(tokens), Dim::Fixed(width)])?;
    Ok(g.finish())
}

/// Whether the linear layer with the weight of this name is computed in bytes where a model is quantized: all but the
/// feed-forwards' last ones, whose activations T5 lets grow to thousands in a few channels, so that the others would have
/// no bits left. They are what transformers keeps in fp32 beside fp16. Embeddings are looked up.
pub fn is_quantized(weight: &str) -> bool {
    let is_layer =
        weight.starts_with("encoder.block.") && !weight.contains("relative_attention_bias");
    is_layer && !names::is_kept_fp32(weight)
}
