use cogwheel_graph::{Dim, GraphBuilder, GraphError, Value};
use cogwheel_tensor::DType;

use super::{io, stream::linear};
use crate::config::TransformerConfig;

/// The timestep as what modulates the blocks: `SiLU(time_embedding)`, `[1, time_embed_dim]`.
pub(super) struct TimeEmbedding {
    activated: Value,
    time_dim: usize,
    inner: usize,
}

/// How one norm and the branch behind it are modulated; vectors of `[inner_dim]`.
pub(super) struct Modulation {
    pub(super) shift: Value,
    /// `1 + scale`.
    pub(super) factor: Value,
    pub(super) gate: Value,
}

impl TimeEmbedding {
    /// diffusers' `TimestepEmbedding` on the projected timestep.
    pub(super) fn new(
        g: &mut GraphBuilder,
        config: &TransformerConfig,
        dtype: DType,
    ) -> Result<Self, GraphError> {
        let (inner, time_dim) = (config.inner_dim(), config.time_embed_dim);
        let dims = [Dim::Fixed(1), Dim::Fixed(inner)];
        let projection = g.input(io::TIMESTEP_PROJECTION, dtype, &dims)?;
        g.scoped("time_embedding", |g| {
            let x = linear(g, &projection, "time_embedding.linear_1", [inner, time_dim])?;
            let x = g.silu(&x);
            let x = linear(g, &x, "time_embedding.linear_2", [time_dim, time_dim])?;
            Ok(Self { activated: g.silu(&x), time_dim, inner })
        })
    }

    /// `CogVideoXLayerNormZero`'s six vectors: the video's modulation and the text's.
    pub(super) fn zero(
        &self,
        g: &mut GraphBuilder,
        name: &str,
    ) -> Result<[Modulation; 2], GraphError> {
        let [shift, scale, gate, text_shift, text_scale, text_gate] = self.vectors(g, name)?;
        Ok([
            Modulation { shift, factor: one_plus(g, &scale)?, gate },
            Modulation { shift: text_shift, factor: one_plus(g, &text_scale)?, gate: text_gate },
        ])
    }

    /// `AdaLayerNorm`'s two vectors: shift, and `1 + scale`.
    pub(super) fn shift_and_factor(
        &self,
        g: &mut GraphBuilder,
        name: &str,
    ) -> Result<(Value, Value), GraphError> {
        let [shift, scale] = self.vectors(g, name)?;
        Ok((shift, one_plus(g, &scale)?))
    }

    fn vectors<const N: usize>(
        &self,
        g: &mut GraphBuilder,
        name: &str,
    ) -> Result<[Value; N], GraphError> {
        let all = linear(g, &self.activated, name, [self.time_dim, N * self.inner])?;
        let all = g.reshape(&all, &[-1]);
        Ok(g.split(&all, 0))
    }
}

/// `(LayerNorm(x) * factor + shift)` by one norm: its own scale and bias take up the modulation.
pub(super) fn modulated_norm(
    g: &mut GraphBuilder,
    x: &Value,
    name: &str,
    (shift, factor): (&Value, &Value),
    epsilon: f32,
    inner: usize,
) -> Result<Value, GraphError> {
    let scale = g.weight(&format!("{name}.weight"), x.dtype(), &[inner]);
    let bias = g.weight(&format!("{name}.bias"), x.dtype(), &[inner]);
    let scale = g.mul(&scale, factor)?;
    let bias = g.mul(&bias, factor)?;
    let bias = g.add(&bias, shift)?;
    g.layer_norm(x, &scale, Some(&bias), epsilon)
}

fn one_plus(g: &mut GraphBuilder, x: &Value) -> Result<Value, GraphError> {
    let one = g.scalar(1.0);
    let one = g.cast(&one, x.dtype());
    g.add(x, &one)
}
