use cogwheel_graph::{GraphBuilder, Value};
use cogwheel_tensor::DType;

use super::{builder::Builder, group_norm::centre, resolution::Resolution};
use crate::BuildError;

/// Epsilon of the decoder's group norms; diffusers gives it here, not in the config.
const EPSILON: f32 = 1e-6;

impl Builder<'_> {
    /// A group norm whose scale and shift come from the latents, and SiLU, which always follows it:
    /// `silu(group_norm(x) * conv_y(z) + conv_b(z))`, as diffusers' `CogVideoXSpatialNorm3D`, where `z` is the chunk
    /// of latents stretched to `x` by repeating its pixels and frames.
    ///
    /// The two convolutions see one pixel each, so they are done before the latents are stretched; and rows are not
    /// stretched at all: the product repeats them. Statistics are taken over all frames of the chunk, in two passes as
    /// torch takes them: the mean of squares alone would lose digits.
    pub(super) fn spatial_norm(
        &mut self,
        x: &Value,
        name: &str,
        channels: usize,
        at: &Resolution,
    ) -> Result<Value, BuildError> {
        let read = |name: String| self.weights.tensor_as(&name, DType::F32);
        let channel = [1, channels, 1, 1];
        let gamma = read(format!("{name}.norm_layer.weight"))?.reshape(channel)?;
        let beta = read(format!("{name}.norm_layer.bias"))?.reshape(channel)?;
        let (latents, groups) = (at.latents.clone(), self.config.norm_num_groups);
        let [scale, shift] = ["conv_y", "conv_b"].map(|conv| format!("{name}.{conv}.conv"));
        let scale = self.pointwise_conv(&latents, &scale)?;
        let shift = self.pointwise_conv(&latents, &shift)?;
        self.graph.scoped(name, |g| {
            let gamma = g.constant("gamma", &gamma);
            let beta = g.constant("beta", &beta);
            let (centred, deviation) = centre(g, x, [channels, groups], EPSILON)?;
            // (centred / deviation * gamma + beta) * scale + shift, all but the first factor at the latents' size.
            let gain = g.div(&gamma, &deviation)?;
            let gain = g.mul(&scale, &gain)?;
            let offset = g.mul(&scale, &beta)?;
            let offset = g.add(&offset, &shift)?;
            let [gain, offset] = [gain, offset].map(|value| stretch(g, &value, channels, at));
            let viewed = view(g, &centred, channels, at.place.scale, at)?;
            let y = g.mul(&viewed, &gain?)?;
            let y = g.add(&y, &offset?)?;
            let y = g.silu(&y);
            if at.place.scale == 1 {
                return Ok(y);
            }
            let shape = g.shape_of(x);
            Ok(g.reshape_to(&y, &shape))
        })
    }
}

/// What has the latents' size, [frames, channels, height, width], stretched to `x`'s frames and width:
/// [.., channels, height, 1, width * scale], or as it was where there is nothing to stretch.
fn stretch(
    g: &mut GraphBuilder,
    latents: &Value,
    channels: usize,
    at: &Resolution,
) -> Result<Value, BuildError> {
    let mut stretched = latents.clone();
    if at.place.scale > 1 {
        stretched = g.unsqueeze(&stretched, &[4]);
        stretched = g.expand(&stretched, &[1, 1, 1, 1, at.place.scale as i64]);
        stretched = view(g, &stretched, channels, 1, at)?;
    }
    // Frames last: there are fewer of the latents'.
    if let Some(frames) = &at.latent_frames {
        stretched = g.gather(&stretched, frames, 0);
    }
    Ok(stretched)
}

/// `x` as [frames, channels, height of the latents, rows of each, width], where that differs.
fn view(
    g: &mut GraphBuilder,
    x: &Value,
    channels: usize,
    rows: usize,
    at: &Resolution,
) -> Result<Value, BuildError> {
    if at.place.scale == 1 {
        return Ok(x.clone());
    }
    let (outer, rows) = (g.ints(&[-1, channels as i64]), g.ints(&[rows as i64]));
    let dims = g.concat(&[&outer, &at.latent_height, &rows, &at.width], 0)?;
    Ok(g.reshape_to(x, &dims))
}
