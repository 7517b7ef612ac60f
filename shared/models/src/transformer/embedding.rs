use cogwheel_graph::{Dim, GraphBuilder, GraphError};
use cogwheel_tensor::DType;

use super::{
    io, patch_features,
    stream::{Shapes, Stream, linear},
};
use crate::config::TransformerConfig;

/// `CogVideoXPatchEmbed`: text and patches projected to the inner width, sin-cos positions added.
///
/// 1.0's convolution of patches that do not overlap is a matrix product over the flattened kernel.
pub(super) fn embed(
    g: &mut GraphBuilder,
    config: &TransformerConfig,
    dtype: DType,
) -> Result<Stream, GraphError> {
    let inner = config.inner_dim();
    let features = patch_features(config) * config.in_channels;
    let (batch, tokens) = (Dim::Free("batch"), Dim::Free("tokens"));
    let patches = g.input(io::PATCHES, dtype, &[batch, tokens, Dim::Fixed(features)])?;
    let text_dims =
        [batch, Dim::Fixed(config.max_text_seq_length), Dim::Fixed(config.text_embed_dim)];
    let text = g.input(io::TEXT, dtype, &text_dims)?;
    let positions = match config.use_rotary_positional_embeddings {
        true => None,
        false => {
            Some(g.input(io::POSITIONS, dtype, &[Dim::Fixed(1), tokens, Dim::Fixed(inner)])?)
        }
    };
    g.scoped("patch_embed", |g| {
        let shapes = Shapes::of(g, &patches, config)?;
        let name = "patch_embed.text_proj";
        let text = linear(g, &text, name, [config.text_embed_dim, inner])?;
        let text = g.reshape_to(&text, &shapes.sequences);
        let video = linear(g, &patches, "patch_embed.proj", [features, inner])?;
        let mut video = g.reshape_to(&video, &shapes.sequences);
        if let Some(positions) = &positions {
            video = g.add(&video, positions)?;
        }
        Ok(Stream { text: Some(text), video })
    })
}
