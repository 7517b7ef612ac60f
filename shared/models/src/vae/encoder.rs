use cogwheel_graph::{Convolution, Dim, Model, Value};
use cogwheel_tensor::DType;
use cogwheel_weights::{Strictness, Weights};

use super::{
    builder::Builder,
    causal_conv::{ConvCache, Place},
    frames::{TIME_LEVELS, earlier_name, later_name},
    resolution::Resolution,
};
use crate::{BuildError, config::VaeConfig, names};

/// The encoder's graph and what it carries from one chunk to the next.
#[derive(Debug)]
pub struct Encoder {
    /// The graph, weights contained. Inputs: `frames` [frames, 3, 8 height, 8 width] fp32 in -1..1; those of
    /// [`super::encode_inputs`]; and every cache. Outputs: `moments` [latent frames, 2 channels, height, width] fp32, the
    /// means of the latents' distribution and then the logarithms of its variances; and every cache for the next chunk.
    pub model: Model,
    /// The caches, in the order of their outputs, which follow `moments`.
    pub caches: Vec<ConvCache>,
}

/// Epsilon of the last norm; diffusers gives it in the code, and that of the others in the config.
const LAST_EPSILON: f32 = 1e-6;

/// Every other row and column from a 3x3 neighbourhood that begins there, zeros beyond the right and lower edge.
const HALVED: Convolution<'static> =
    Convolution { kernel: &[3, 3], strides: &[2, 2], pads: &[0, 0, 1, 1] };

/// Builds the encoder from its config and weights, as diffusers' `CogVideoXEncoder3D`. The weights become part of the
/// model, as those of [`super::decoder()`].
///
/// # Errors
/// [`BuildError::Weights`], which lists the tensors that are missing or of another shape.
pub fn encoder(config: &VaeConfig, weights: &Weights) -> Result<Encoder, BuildError> {
    weights.check(&names::vae_encoder(config), Strictness::AllowExtra)?;
    let scale = config.spatial_compression_ratio();
    let [height, width] = Resolution::dims(scale);
    let dims = [Dim::Free("frames"), Dim::Fixed(config.in_channels), height, width];
    let (mut builder, frames) = Builder::new("vae_encoder", config, weights, ("frames", dims))?;
    let moments = encode(&mut builder, &frames, scale)?;
    let [height, width] = Resolution::dims(1);
    let channels = Dim::Fixed(2 * config.latent_channels);
    let dims = [Dim::Free("latent_frames"), channels, height, width];
    let caches = builder.declare_outputs(("moments", &moments, dims))?;
    Ok(Encoder { model: builder.graph.finish(), caches })
}

fn encode(builder: &mut Builder<'_>, frames: &Value, scale: usize) -> Result<Value, BuildError> {
    let config = builder.config;
    let epsilon = config.norm_eps as f32;
    let norm = |builder: &mut Builder<'_>, x: &Value, name: &str, channels: usize| {
        builder.group_norm(x, name, channels, epsilon)
    };
    let mut at = place(builder, frames, scale)?;
    let mut x = builder.causal_conv(frames, "encoder.conv_in", config.in_channels, &at)?;
    let levels = &config.block_out_channels;
    let mut channels = levels.first().copied().unwrap_or_default();
    for (level, &output) in levels.iter().enumerate() {
        for i in 0..config.layers_per_block {
            let name = format!("encoder.down_blocks.{level}.resnets.{i}");
            x = builder.resnet(&x, &name, [channels, output], &at, &norm)?;
            channels = output;
        }
        if level + 1 < levels.len() {
            if level < TIME_LEVELS {
                x = builder.halve_time(&x, level + 1)?;
            }
            x = builder
                .downsample(&x, &format!("encoder.down_blocks.{level}.downsamplers.0.conv"))?;
            at = place(builder, &x, at.scale / 2)?;
        }
    }
    for i in 0..2 {
        let name = format!("encoder.mid_block.resnets.{i}");
        x = builder.resnet(&x, &name, [channels, channels], &at, &norm)?;
    }
    x = builder.group_norm(&x, "encoder.norm_out", channels, LAST_EPSILON)?;
    builder.causal_conv(&x, "encoder.conv_out", channels, &at)
}

fn place(builder: &mut Builder<'_>, x: &Value, scale: usize) -> Result<Place, BuildError> {
    let shape = builder.graph.shape_of(x);
    let frames = builder.graph.slice(&shape, 0, 0, 1);
    Ok(Place::new(&mut builder.graph, scale, &frames)?)
}

impl Builder<'_> {
    /// The mean of two frames for each that is left; the first of an odd number is the mean of itself and itself.
    fn halve_time(&mut self, x: &Value, level: usize) -> Result<Value, BuildError> {
        let g = &mut self.graph;
        let dims = [Dim::Free(if level == 1 { "frames_1" } else { "frames_2" })];
        let earlier = g.input(&earlier_name(level), DType::I64, &dims)?;
        let later = g.input(&later_name(level), DType::I64, &dims)?;
        let earlier = g.gather(x, &earlier, 0);
        let later = g.gather(x, &later, 0);
        let sum = g.add(&earlier, &later)?;
        let half = g.scalar(0.5);
        Ok(g.mul(&sum, &half)?)
    }

    /// Every frame halved in height and width: the spatial part of diffusers' `CogVideoXDownsample3D`.
    fn downsample(&mut self, x: &Value, name: &str) -> Result<Value, BuildError> {
        let weight = self.weights.tensor_as(&format!("{name}.weight"), DType::F32)?;
        self.frame_conv(x, name, &weight, HALVED)
    }
}
