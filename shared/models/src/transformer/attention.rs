use cogwheel_graph::{Attention, Dim, GraphBuilder, GraphError, Value};
use cogwheel_tensor::DType;

use super::{chunks::Layout, input, io};
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
        let cos = input(g, io::ROTARY_COS, dtype, &dims)?;
        let sin = input(g, io::ROTARY_SIN, dtype, &dims)?;
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
    projected: &[Value; 3],
) -> Result<Value, GraphError> {
    let [q, k, v] = projected.each_ref().map(|x| layout.joint_sequences(g, x));
    attend_sequences(g, config, rotary, [q, k, v])
}

/// The same from queries, keys and values of `[batch, text + video tokens, inner_dim]`.
pub(super) fn attend_sequences(
    g: &mut GraphBuilder,
    config: &TransformerConfig,
    rotary: Option<&Rotary>,
    [q, k, v]: [Value; 3],
) -> Result<Value, GraphError> {
    let turned = |g: &mut GraphBuilder, x: Value| match rotary {
        Some(rotary) => g.rotary(&x, &rotary.cos, &rotary.sin),
        None => Ok(x),
    };
    let q = turned(g, q)?;
    let k = turned(g, k)?;
    let attention = Attention { heads: config.num_attention_heads, scale: None, bias: None };
    g.attention([&q, &k, &v], attention)
}
