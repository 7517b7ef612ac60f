use cogwheel_graph::{Dim, GraphBuilder, GraphError, Value};
use cogwheel_tensor::DType;

use super::{input, io, linear::linear, patch_volume};
use crate::config::TransformerConfig;

/// `CogVideoXPatchEmbed`: text and patches projected to the inner width, positions added, in one
/// sequence: `[batch, text + video tokens, inner_dim]`.
///
/// 1.0's convolution of patches that do not overlap is a matrix product over the flattened kernel;
/// 1.5 has one over patches of two frames.
pub(super) fn embed(
    g: &mut GraphBuilder,
    config: &TransformerConfig,
    dtype: DType,
) -> Result<Value, GraphError> {
    let inner = config.inner_dim();
    let features = patch_volume(config) * config.in_channels;
    let (batch, tokens) = (Dim::Free("batch"), Dim::Free("tokens"));
    let patches = input(g, io::PATCHES, dtype, &[batch, tokens, Dim::Fixed(features)])?;
    let text_dims =
        [batch, Dim::Fixed(config.max_text_seq_length), Dim::Fixed(config.text_embed_dim)];
    let text = input(g, io::TEXT, dtype, &text_dims)?;
    let added = |g: &mut GraphBuilder, wanted: bool, tokens| {
        let dims = [Dim::Fixed(1), tokens, Dim::Fixed(inner)];
        wanted.then(|| input(g, io::POSITIONS, dtype, &dims)).transpose()
    };
    let of_video = added(g, !config.use_rotary_positional_embeddings, tokens)?;
    // A learned table has rows for the text, too.
    let of_all = added(g, config.use_learned_positional_embeddings, Dim::Free("joint_tokens"))?;
    g.scoped("patch_embed", |g| {
        let shape = g.shape_of(&patches);
        let batch = g.slice(&shape, 0, 0, 1);
        let rest = g.ints(&[-1, inner as i64]);
        let sequences = g.concat(&[&batch, &rest], 0)?;
        let name = "patch_embed.text_proj";
        let text = linear(g, &text, name, [config.text_embed_dim, inner])?;
        let text = g.reshape_to(&text, &sequences);
        let video = linear(g, &patches, "patch_embed.proj", [features, inner])?;
        let mut video = g.reshape_to(&video, &sequences);
        if let Some(positions) = &of_video {
            video = g.add(&video, positions)?;
        }
        let joint = g.concat(&[&text, &video], 1)?;
        match &of_all {
            Some(positions) => g.add(&joint, positions),
            None => Ok(joint),
        }
    })
}
