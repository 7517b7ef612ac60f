use cogwheel_graph::{Attention, GraphBuilder, GraphError, Value};
use cogwheel_tensor::DType;

use crate::config::TextEncoderConfig;

/// One block: self-attention, then a gated feed-forward, each added to what went in.
pub(super) struct Block<'a> {
    pub(super) config: &'a TextEncoderConfig,
    /// Tokens of a prompt.
    pub(super) tokens: usize,
    /// [1, heads, tokens, tokens]: the first block's, used by all.
    pub(super) position_bias: &'a Value,
    pub(super) index: usize,
}

impl Block<'_> {
    /// `x` is [prompts * tokens, d_model].
    pub(super) fn apply(&self, g: &mut GraphBuilder, x: &Value) -> Result<Value, GraphError> {
        let name = format!("encoder.block.{}", self.index);
        let attended = g.scoped(format!("{name}.layer.0"), |g| self.attention(g, x, &name))?;
        let x = g.add(x, &attended)?;
        let fed = g.scoped(format!("{name}.layer.1"), |g| self.feed_forward(g, &x, &name))?;
        g.add(&x, &fed)
    }

    /// T5 leaves out the division by the root of the head's width: it is part of the trained weights.
    fn attention(&self, g: &mut GraphBuilder, x: &Value, name: &str) -> Result<Value, GraphError> {
        let (model, inner) = (self.config.d_model, self.config.inner_dim());
        let x = self.norm(g, x, &format!("{name}.layer.0"))?;
        let projection = |part: &str| format!("{name}.layer.0.SelfAttention.{part}.weight");
        let mut project = |part: &str| {
            let weight = g.weight(&projection(part), DType::F32, &[inner, model]);
            let x = g.linear(&x, &weight, None)?;
            Ok(g.reshape(&x, &[-1, self.tokens as i64, inner as i64]))
        };
        let (q, k, v) = (project("q")?, project("k")?, project("v")?);
        let attention = Attention {
            heads: self.config.num_heads,
            scale: Some(1.0),
            bias: Some(self.position_bias),
        };
        let attended = g.attention([&q, &k, &v], attention)?;
        let attended = g.reshape(&attended, &[-1, inner as i64]);
        let weight = g.weight(&projection("o"), DType::F32, &[model, inner]);
        g.linear(&attended, &weight, None)
    }

    /// `wo(gelu(wi_0 x) * wi_1 x)`, GELU in its tanh form.
    fn feed_forward(
        &self,
        g: &mut GraphBuilder,
        x: &Value,
        name: &str,
    ) -> Result<Value, GraphError> {
        let (model, ff) = (self.config.d_model, self.config.d_ff);
        let x = self.norm(g, x, &format!("{name}.layer.1"))?;
        let mut weight = |part: &str, shape: &[usize]| {
            let name = format!("{name}.layer.1.DenseReluDense.{part}.weight");
            g.weight(&name, DType::F32, shape)
        };
        let gate = weight("wi_0", &[ff, model]);
        let value = weight("wi_1", &[ff, model]);
        let output = weight("wo", &[model, ff]);
        let gate = g.linear(&x, &gate, None)?;
        let gate = g.gelu_tanh(&gate);
        let value = g.linear(&x, &value, None)?;
        let product = g.mul(&gate, &value)?;
        g.linear(&product, &output, None)
    }

    fn norm(&self, g: &mut GraphBuilder, x: &Value, layer: &str) -> Result<Value, GraphError> {
        let name = format!("{layer}.layer_norm.weight");
        let scale = g.weight(&name, DType::F32, &[self.config.d_model]);
        g.rms_norm(x, &scale, self.config.layer_norm_epsilon as f32)
    }
}
