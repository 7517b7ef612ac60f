use cogwheel_graph::{Attention, Dim, GraphBuilder, GraphError, Value};
use cogwheel_tensor::DType;

use super::{chunks::Layout, io};
use crate::config::TransformerConfig;

/// Cosines and sines for the whole sequence; those of the text turn by nothing.
pub(super) struct Rotary {
    cos: Value,
    sin: Value,
}

impl Rotary {
    /// The tables as inputs, for a config that wants them.
    pub(super) fn new(
        g: &mut GraphBuilder,
        config: &TransformerConfig,
        dtype: DType,
    ) -> Result<Option<Self>, GraphError> {
        if !config.use_rotary_positional_embeddings {
            return Ok(None);
        }
        let dims = [Dim::Free("joint_tokens"), Dim::Fixed(config.attention_head_dim / 2)];
        let cos = g.input(io::ROTARY_COS, dtype, &dims)?;
        let sin = g.input(io::ROTARY_SIN, dtype, &dims)?;
        Ok(Some(Self { cos, sin }))
    }
}

/// Joint self-attention of text and video as in `CogVideoXAttnProcessor2_0`, between its
/// projections: from normalized queries and keys, a row for each head, and values of
/// `[chunks, rows, inner_dim]` to `[batch, text + video tokens, inner_dim]`.
pub(super) fn attend(
    g: &mut GraphBuilder,
    config: &TransformerConfig,
    rotary: Option<&Rotary>,
    layout: &Layout,
    [q, k, v]: &[Value; 3],
) -> Result<Value, GraphError> {
    let place = |g: &mut GraphBuilder, x: &Value| {
        let x = layout.joint_sequences(g, x);
        match rotary {
            Some(rotary) => g.rotary(&x, &rotary.cos, &rotary.sin),
            None => Ok(x),
        }
    };
    let q = place(g, q)?;
    let k = place(g, k)?;
    let v = layout.joint_sequences(g, v);
    let attention = Attention { heads: config.num_attention_heads, scale: None, bias: None };
    g.attention([&q, &k, &v], attention)
}
