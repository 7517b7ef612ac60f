use cogwheel_weights::ExpectedTensor;

use super::list::List;
use crate::config::TransformerConfig;

/// The learned position table, [1, text tokens + video tokens, inner dim]: a buffer that is saved with the parameters.
pub const POSITION_TABLE: &str = "patch_embed.pos_embedding";

/// The tensors of diffusers' `CogVideoXTransformer3DModel`, 1.0 and 1.5.
pub fn transformer(config: &TransformerConfig) -> Vec<ExpectedTensor> {
    let dim = config.inner_dim();
    let time = config.time_embed_dim;
    let mut list = List::default();
    patch_embedding(&mut list, config);
    embedding(&mut list, "time_embedding", dim, time);
    if let Some(ofs) = config.ofs_embed_dim {
        embedding(&mut list, "ofs_embedding", ofs, ofs);
    }
    for block in 0..config.num_layers {
        let block = format!("transformer_blocks.{block}");
        layer_norm_zero(&mut list, &format!("{block}.norm1"), time, dim);
        attention(&mut list, &format!("{block}.attn1"), dim, config.attention_head_dim);
        layer_norm_zero(&mut list, &format!("{block}.norm2"), time, dim);
        list.linear(&format!("{block}.ff.net.0.proj"), dim, 4 * dim);
        list.linear(&format!("{block}.ff.net.2"), 4 * dim, dim);
    }
    list.norm("norm_final", dim);
    list.linear("norm_out.linear", time, 2 * dim);
    list.norm("norm_out.norm", dim);
    list.linear("proj_out", dim, patch_volume(config) * config.out_channels);
    list.0
}

/// Latents in one patch, per channel.
fn patch_volume(config: &TransformerConfig) -> usize {
    config.patch_size * config.patch_size * config.patch_size_t.unwrap_or(1)
}

fn patch_embedding(list: &mut List, config: &TransformerConfig) {
    let dim = config.inner_dim();
    match config.patch_size_t {
        None => {
            let kernel = [config.patch_size; 2];
            list.conv("patch_embed.proj", config.in_channels, dim, &kernel);
        }
        Some(_) => list.linear("patch_embed.proj", config.in_channels * patch_volume(config), dim),
    }
    list.linear("patch_embed.text_proj", config.text_embed_dim, dim);
    if config.use_learned_positional_embeddings {
        // Latent frames, not frames of patches: 1.5 has no learned positions.
        let rows = config.sample_height / config.patch_size;
        let columns = config.sample_width / config.patch_size;
        let tokens = config.max_text_seq_length + config.sample_latent_frames() * rows * columns;
        list.tensor(POSITION_TABLE.to_owned(), [1, tokens, dim]);
    }
}

fn embedding(list: &mut List, name: &str, input: usize, output: usize) {
    list.linear(&format!("{name}.linear_1"), input, output);
    list.linear(&format!("{name}.linear_2"), output, output);
}

/// Shift, scale and gate for the video's tokens and the text's.
fn layer_norm_zero(list: &mut List, name: &str, time: usize, dim: usize) {
    list.linear(&format!("{name}.linear"), time, 6 * dim);
    list.norm(&format!("{name}.norm"), dim);
}

fn attention(list: &mut List, name: &str, dim: usize, head_dim: usize) {
    for projection in ["to_q", "to_k", "to_v", "to_out.0"] {
        list.linear(&format!("{name}.{projection}"), dim, dim);
    }
    for norm in ["norm_q", "norm_k"] {
        list.norm(&format!("{name}.{norm}"), head_dim);
    }
}
