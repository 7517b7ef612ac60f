use cogwheel_graph::{Dim, GraphBuilder, GraphError, Value};
use cogwheel_tensor::DType;

use super::{chunks::Layout, input, io, linear::linear};
use crate::config::TransformerConfig;

/// The timestep as what modulates the blocks: `SiLU(time_embedding)`, `[1, time_embed_dim]`.
pub(super) struct TimeEmbedding {
    activated: Value,
    time_dim: usize,
    inner: usize,
}

/// How a norm and the branch behind it are modulated: `[2, inner_dim]`, for video and for text, or for each chunk
/// `[chunks, inner_dim]`.
///
/// `LayerNorm(x) * (1 + scale) + shift` is a norm by other vectors: `weight * (1 + scale)` and
/// `bias * (1 + scale) + shift`.
pub(super) struct Modulation {
    /// The norm's scale.
    pub(super) scale: Value,
    /// The norm's bias.
    pub(super) bias: Value,
    /// Factor of what is added.
    pub(super) gate: Value,
}

impl Modulation {
    /// The same for each chunk.
    pub(super) fn for_each_chunk(&self, g: &mut GraphBuilder, layout: &Layout) -> Self {
        let [scale, bias, gate] =
            [&self.scale, &self.bias, &self.gate].map(|vectors| layout.for_each_chunk(g, vectors));
        Self { scale, bias, gate }
    }
}

impl TimeEmbedding {
    /// diffusers' `TimestepEmbedding` on the projected timestep, and on `ofs` where there is one.
    pub(super) fn new(
        g: &mut GraphBuilder,
        config: &TransformerConfig,
        dtype: DType,
    ) -> Result<Self, GraphError> {
        let (inner, time_dim) = (config.inner_dim(), config.time_embed_dim);
        let dims = [Dim::Fixed(1), Dim::Fixed(inner)];
        let projection = input(g, io::TIMESTEP_PROJECTION, dtype, &dims)?;
        g.scoped("time_embedding", |g| {
            let mut x = embedding(g, &projection, "time_embedding", [inner, time_dim])?;
            if let Some(ofs_dim) = config.ofs_embed_dim {
                let dims = [Dim::Fixed(1), Dim::Fixed(ofs_dim)];
                let projection = input(g, io::OFS_PROJECTION, dtype, &dims)?;
                let ofs = embedding(g, &projection, "ofs_embedding", [ofs_dim, time_dim])?;
                x = g.add(&x, &ofs)?;
            }
            Ok(Self { activated: g.silu(&x), time_dim, inner })
        })
    }

    /// `CogVideoXLayerNormZero`: shift, scale and gate of the video, then of the text.
    pub(super) fn zero(&self, g: &mut GraphBuilder, name: &str) -> Result<Modulation, GraphError> {
        let all =
            linear(g, &self.activated, &format!("{name}.linear"), [self.time_dim, 6 * self.inner])?;
        let all = g.reshape(&all, &[2, 3, self.inner as i64]);
        let [shift, scale, gate] =
            g.split(&all, 1).map(|part: Value| g.reshape(&part, &[2, self.inner as i64]));
        let (scale, bias) = self.vectors(g, &format!("{name}.norm"), &scale, &shift)?;
        Ok(Modulation { scale, bias, gate })
    }

    /// `AdaLayerNorm`: the scale and bias of the norm, `[inner_dim]`.
    pub(super) fn shifted(
        &self,
        g: &mut GraphBuilder,
        name: &str,
    ) -> Result<(Value, Value), GraphError> {
        let all =
            linear(g, &self.activated, &format!("{name}.linear"), [self.time_dim, 2 * self.inner])?;
        let all = g.reshape(&all, &[-1]);
        let [shift, scale] = g.split(&all, 0);
        self.vectors(g, &format!("{name}.norm"), &scale, &shift)
    }

    /// The checkpoint's vectors of a norm, modulated, which in half precision is rounded once, at the end.
    fn vectors(
        &self,
        g: &mut GraphBuilder,
        name: &str,
        scale: &Value,
        shift: &Value,
    ) -> Result<(Value, Value), GraphError> {
        let dtype = scale.dtype();
        let [scale, shift] = [scale, shift].map(|vectors| g.cast(vectors, DType::F32));
        let weight = g.weight(&format!("{name}.weight"), DType::F32, &[self.inner]);
        let bias = g.weight(&format!("{name}.bias"), DType::F32, &[self.inner]);
        let one = g.scalar(1.0);
        let factor = g.add(&scale, &one)?;
        let bias = g.mul(&bias, &factor)?;
        let (scale, bias) = (g.mul(&weight, &factor)?, g.add(&bias, &shift)?);
        Ok((g.cast(&scale, dtype), g.cast(&bias, dtype)))
    }
}

/// `TimestepEmbedding`: two linear layers with a SiLU between them.
fn embedding(
    g: &mut GraphBuilder,
    projection: &Value,
    name: &str,
    [input, output]: [usize; 2],
) -> Result<Value, GraphError> {
    let x = linear(g, projection, &format!("{name}.linear_1"), [input, output])?;
    let x = g.silu(&x);
    linear(g, &x, &format!("{name}.linear_2"), [output, output])
}
