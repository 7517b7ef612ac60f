use cogwheel_graph::{GraphBuilder, GraphError, Value};

use super::{
    linear::{layer_norm, linear},
    modulation::{Modulation, TimeEmbedding},
};
use crate::config::TransformerConfig;

/// Epsilon of the norms of queries and keys, a constant of `CogVideoXBlock`'s.
const QK_EPSILON: f32 = 1e-6;

/// The layers of diffusers' `CogVideoXBlock` that act on each token by itself, on `[rows, inner_dim]`.
pub(super) struct Layers<'a> {
    config: &'a TransformerConfig,
    name: String,
}

impl<'a> Layers<'a> {
    /// Of the block at `index`.
    pub(super) fn new(config: &'a TransformerConfig, index: usize) -> Self {
        Self { config, name: format!("transformer_blocks.{index}") }
    }

    /// What its two norms and what comes behind them are modulated by.
    pub(super) fn modulations(
        &self,
        g: &mut GraphBuilder,
        time: &TimeEmbedding,
    ) -> Result<[Modulation; 2], GraphError> {
        let mut norm = |part: &str| time.zero(g, &format!("{}.{part}", self.name));
        Ok([norm("norm1")?, norm("norm2")?])
    }

    /// A norm of the block by modulated vectors.
    pub(super) fn norm(
        &self,
        g: &mut GraphBuilder,
        x: &Value,
        scale: &Value,
        bias: &Value,
    ) -> Result<Value, GraphError> {
        g.layer_norm(x, scale, Some(bias), self.config.norm_eps as f32)
    }

    /// The projections of attention: normalized queries and keys, a row for each head, and values.
    pub(super) fn queries_keys_values(
        &self,
        g: &mut GraphBuilder,
        x: &Value,
    ) -> Result<[Value; 3], GraphError> {
        let (inner, head) = (self.config.inner_dim(), self.config.attention_head_dim);
        let project = |g: &mut GraphBuilder, part: &str| {
            linear(g, x, &format!("{}.attn1.{part}", self.name), [inner, inner])
        };
        let head_norm = |g: &mut GraphBuilder, x: &Value, part: &str| {
            let heads = g.reshape(x, &[-1, head as i64]);
            // The result stays a row a head: to give it another shape here would copy it, as
            // what a pass over chunks gives has its place already.
            layer_norm(g, &heads, &format!("{}.attn1.{part}", self.name), head, QK_EPSILON)
        };
        let q = project(g, "to_q")?;
        let q = head_norm(g, &q, "norm_q")?;
        let k = project(g, "to_k")?;
        let k = head_norm(g, &k, "norm_k")?;
        Ok([q, k, project(g, "to_v")?])
    }

    /// Attention's output projection.
    pub(super) fn project_out(
        &self,
        g: &mut GraphBuilder,
        attended: &Value,
    ) -> Result<Value, GraphError> {
        let inner = self.config.inner_dim();
        linear(g, attended, &format!("{}.attn1.to_out.0", self.name), [inner, inner])
    }

    /// diffusers' `FeedForward` with `gelu-approximate`.
    pub(super) fn feed_forward(
        &self,
        g: &mut GraphBuilder,
        x: &Value,
    ) -> Result<Value, GraphError> {
        let inner = self.config.inner_dim();
        let layer = |part: &str| format!("{}.ff.net.{part}", self.name);
        let x = linear(g, x, &layer("0.proj"), [inner, 4 * inner])?;
        let x = g.gelu_tanh(&x);
        linear(g, &x, &layer("2"), [4 * inner, inner])
    }
}
