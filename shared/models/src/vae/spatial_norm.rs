use cogwheel_graph::{GraphBuilder, Value};
use cogwheel_tensor::DType;

use super::{
    causal_conv::POINTWISE, decoder::DecoderBuilder, kernel::Kernel, resolution::Resolution,
};
use crate::BuildError;

/// Epsilon of the decoder's group norms; diffusers gives it here, not in the config.
const EPSILON: f32 = 1e-6;

/// Height and width, columns first. ONNX Runtime adds up what one reduction covers in long runs; row by row the sums of 94,000
/// pixels keep 24 dB more, in the same time.
const SPACE: [i64; 2] = [3, 2];

impl DecoderBuilder<'_> {
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
        let (latents, groups) = (self.latents.clone(), self.config.norm_num_groups);
        let [scale, shift] = ["conv_y", "conv_b"].map(|conv| format!("{name}.{conv}.conv"));
        let scale = self.latent_conv(&latents, &scale)?;
        let shift = self.latent_conv(&latents, &shift)?;
        self.graph.scoped(name, |g| {
            let gamma = g.constant("gamma", &gamma);
            let beta = g.constant("beta", &beta);
            let (centred, deviation) = centre(g, x, channels, groups)?;
            // (centred / deviation * gamma + beta) * scale + shift, all but the first factor at the latents' size.
            let gain = g.div(&gamma, &deviation)?;
            let gain = g.mul(&scale, &gain)?;
            let offset = g.mul(&scale, &beta)?;
            let offset = g.add(&offset, &shift)?;
            let [gain, offset] = [gain, offset].map(|value| stretch(g, &value, channels, at));
            let viewed = view(g, &centred, channels, at.scale, at)?;
            let y = g.mul(&viewed, &gain?)?;
            let y = g.add(&y, &offset?)?;
            let y = g.silu(&y);
            if at.scale == 1 {
                return Ok(y);
            }
            let shape = g.shape_of(x);
            Ok(g.reshape_to(&y, &shape))
        })
    }

    fn latent_conv(&mut self, latents: &Value, name: &str) -> Result<Value, BuildError> {
        let weight = Kernel::read(self.weights, &format!("{name}.weight"))?.pointwise()?;
        let bias = self.weights.tensor_as(&format!("{name}.bias"), DType::F32)?;
        self.graph.scoped(name, |g| {
            let weight = g.constant("weight", &weight);
            let bias = g.constant("bias", &bias);
            Ok(g.conv(latents, &weight, Some(&bias), POINTWISE)?)
        })
    }
}

/// `x` less its group's mean, and the group's standard deviation as [1, channels, 1, 1].
fn centre(
    g: &mut GraphBuilder,
    x: &Value,
    channels: usize,
    groups: usize,
) -> Result<(Value, Value), BuildError> {
    let (in_group, over_group) = ([0, groups as i64, (channels / groups) as i64, 1], [0, 2]);
    let mean = g.reduce_mean(x, &SPACE[..1]);
    let mean = g.reduce_mean(&mean, &SPACE[1..]);
    let mean = g.reshape(&mean, &in_group);
    let mean = g.reduce_mean(&mean, &over_group);
    let mean = each_channel(g, &mean, channels, groups);
    let centred = g.sub(x, &mean)?;

    let squares = g.reduce_sum_square(&centred, &SPACE[..1]);
    let squares = g.reduce_sum(&squares, &SPACE[1..]);
    let squares = g.reshape(&squares, &in_group);
    let squares = g.reduce_sum(&squares, &over_group);
    let count = g.element_count(x);
    let count = g.cast(&count, DType::F32);
    let group_count = g.scalar(groups as f32);
    let count = g.div(&count, &group_count)?;
    let variance = g.div(&squares, &count)?;
    let epsilon = g.scalar(EPSILON);
    let variance = g.add(&variance, &epsilon)?;
    let deviation = g.sqrt(&variance);
    Ok((centred, each_channel(g, &deviation, channels, groups)))
}

/// A group's number [1, groups, 1, 1] for each of its channels.
fn each_channel(g: &mut GraphBuilder, x: &Value, channels: usize, groups: usize) -> Value {
    let x = g.expand(x, &[1, groups as i64, (channels / groups) as i64, 1]);
    g.reshape(&x, &[1, channels as i64, 1, 1])
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
    if at.scale > 1 {
        stretched = g.unsqueeze(&stretched, &[4]);
        stretched = g.expand(&stretched, &[1, 1, 1, 1, at.scale as i64]);
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
    if at.scale == 1 {
        return Ok(x.clone());
    }
    let (outer, rows) = (g.ints(&[-1, channels as i64]), g.ints(&[rows as i64]));
    let dims = g.concat(&[&outer, &at.latent_height, &rows, &at.width], 0)?;
    Ok(g.reshape_to(x, &dims))
}
