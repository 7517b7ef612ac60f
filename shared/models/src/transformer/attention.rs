use cogwheel_graph::{Attention, Dim, GraphBuilder, GraphError, Value};
use cogwheel_tensor::DType;

use super::{
    io,
    stream::{Shapes, linear},
};
use crate::config::TransformerConfig;

/// Epsilon of the norms of queries and keys, a constant of `CogVideoXBlock`'s.
const QK_EPSILON: f32 = 1e-6;

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

/// Joint self-attention as `CogVideoXAttnProcessor2_0` computes it: queries and keys normalized
/// per head, then turned; `x` and the result are `[batch, sequence, inner_dim]`.
pub(super) fn attend(
    g: &mut GraphBuilder,
    config: &TransformerConfig,
    name: &str,
    rotary: Option<&Rotary>,
    shapes: &Shapes,
    x: &Value,
) -> Result<Value, GraphError> {
    let inner = config.inner_dim();
    let project =
        |g: &mut GraphBuilder, part: &str| linear(g, x, &format!("{name}.{part}"), [inner, inner]);
    let q = project(g, "to_q")?;
    let k = project(g, "to_k")?;
    let v = project(g, "to_v")?;
    let v = g.reshape_to(&v, &shapes.sequences);
    let place = |g: &mut GraphBuilder, x: &Value, norm: &str| {
        let x = head_norm(g, config, &format!("{name}.{norm}"), x)?;
        let x = g.reshape_to(&x, &shapes.sequences);
        match rotary {
            Some(rotary) => g.rotary(&x, &rotary.cos, &rotary.sin),
            None => Ok(x),
        }
    };
    let q = place(g, &q, "norm_q")?;
    let k = place(g, &k, "norm_k")?;
    let attention = Attention { heads: config.num_attention_heads, scale: None, bias: None };
    let x = g.attention([&q, &k, &v], attention)?;
    let x = linear(g, &x, &format!("{name}.to_out.0"), [inner, inner])?;
    Ok(g.reshape_to(&x, &shapes.sequences))
}

/// A norm over each head's channels of `[rows, inner_dim]`.
fn head_norm(
    g: &mut GraphBuilder,
    config: &TransformerConfig,
    name: &str,
    x: &Value,
) -> Result<Value, GraphError> {
    let head = config.attention_head_dim;
    let scale = g.weight(&format!("{name}.weight"), x.dtype(), &[head]);
    let bias = g.weight(&format!("{name}.bias"), x.dtype(), &[head]);
    let heads = g.reshape(x, &[-1, head as i64]);
    g.layer_norm(&heads, &scale, Some(&bias), QK_EPSILON)
}
