use cogwheel_graph::{GraphBuilder, GraphError, Value};

use super::{
    modulation::{TimeEmbedding, modulated_norm},
    patch_features,
    stream::{Shapes, linear},
};
use crate::config::TransformerConfig;

/// `norm_final`, `norm_out` (`AdaLayerNorm`) and `proj_out`, on the video's tokens:
/// `[batch, tokens, features]`.
pub(super) fn project(
    g: &mut GraphBuilder,
    config: &TransformerConfig,
    time: &TimeEmbedding,
    shapes: &Shapes,
    video: &Value,
) -> Result<Value, GraphError> {
    let inner = config.inner_dim();
    let epsilon = config.norm_eps as f32;
    let scale = g.weight("norm_final.weight", video.dtype(), &[inner]);
    let bias = g.weight("norm_final.bias", video.dtype(), &[inner]);
    let x = g.layer_norm(video, &scale, Some(&bias), epsilon)?;
    let (shift, factor) = time.shift_and_factor(g, "norm_out.linear")?;
    let x = modulated_norm(g, &x, "norm_out.norm", (&shift, &factor), epsilon, inner)?;
    let features = patch_features(config) * config.out_channels;
    let x = linear(g, &x, "proj_out", [inner, features])?;
    let dims = g.slice(&shapes.sequences, 0, 0, 2);
    let last = g.ints(&[features as i64]);
    let dims = g.concat(&[&dims, &last], 0)?;
    Ok(g.reshape_to(&x, &dims))
}
