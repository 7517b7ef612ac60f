use cogwheel_graph::{Dim, GraphBuilder, GraphError, Value};
use cogwheel_tensor::DType;

use super::{
    io,
    linear::{layer_norm, linear},
    modulation::TimeEmbedding,
    patch_volume,
};
use crate::config::TransformerConfig;

/// `norm_final`, `norm_out` (`AdaLayerNorm`) and `proj_out`.
pub(super) struct Output<'a> {
    config: &'a TransformerConfig,
    scale: Value,
    bias: Value,
    /// What a token is projected to: a patch of latents.
    pub(super) features: usize,
}

impl<'a> Output<'a> {
    pub(super) fn new(
        g: &mut GraphBuilder,
        config: &'a TransformerConfig,
        time: &TimeEmbedding,
    ) -> Result<Self, GraphError> {
        let (scale, bias) = time.shifted(g, "norm_out")?;
        Ok(Self { config, scale, bias, features: patch_volume(config) * config.out_channels })
    }

    /// `[rows, inner_dim]` as `[rows, features]`.
    pub(super) fn project(&self, g: &mut GraphBuilder, x: &Value) -> Result<Value, GraphError> {
        let (inner, epsilon) = (self.config.inner_dim(), self.config.norm_eps as f32);
        let x = layer_norm(g, x, "norm_final", inner, epsilon)?;
        let x = g.layer_norm(&x, &self.scale, Some(&self.bias), epsilon)?;
        linear(g, &x, "proj_out", [inner, self.features])
    }

    /// Makes `[batch, tokens, features]` the graph's output.
    pub(super) fn give(&self, g: &mut GraphBuilder, prediction: &Value) -> Result<(), GraphError> {
        let dims = [Dim::Free("batch"), Dim::Free("tokens"), Dim::Fixed(self.features)];
        let prediction = g.cast(prediction, DType::F32);
        g.output(io::PREDICTION, &prediction, &dims)
    }
}
