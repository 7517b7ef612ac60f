use cogwheel_graph::{Dim, Model, Value};
use cogwheel_weights::{Strictness, Weights};

use super::{
    builder::Builder,
    causal_conv::ConvCache,
    frames::{TIME_LEVELS, frames_input},
    resolution::Resolution,
};
use crate::{BuildError, config::VaeConfig, names};

/// The decoder's graph and what it carries from one chunk to the next.
#[derive(Debug)]
pub struct Decoder {
    /// The graph, weights contained. Inputs: `latents` [frames, channels, height, width] fp32, divided by the scaling
    /// factor; those of [`super::decode_inputs`]; and every cache. Outputs: `frames` [frames, 3, 8 height, 8 width]
    /// fp32, about -1..1; and every cache for the next chunk.
    pub model: Model,
    /// The caches, in the order of their outputs, which follow `frames`.
    pub caches: Vec<ConvCache>,
}

/// Builds the decoder from its config and weights, as diffusers' `CogVideoXDecoder3D`.
///
/// The weights become part of the model: ONNX Runtime rearranges those of convolutions while it makes a session, and
/// would do so to the placeholder of one that is supplied.
///
/// # Errors
/// [`BuildError::Weights`], which lists the tensors that are missing or of another shape.
pub fn decoder(config: &VaeConfig, weights: &Weights) -> Result<Decoder, BuildError> {
    weights.check(&names::vae_decoder(config), Strictness::AllowExtra)?;
    let [height, width] = Resolution::dims(1);
    let dims = [Dim::Free("latent_frames"), Dim::Fixed(config.latent_channels), height, width];
    let (mut builder, latents) = Builder::new("vae_decoder", config, weights, ("latents", dims))?;
    let frames = decode(&mut builder, &latents)?;
    let [height, width] = Resolution::dims(config.spatial_compression_ratio());
    let dims = [Dim::Free("frames"), Dim::Fixed(config.out_channels), height, width];
    let caches = builder.declare_outputs(("frames", &frames, dims))?;
    Ok(Decoder { model: builder.graph.finish(), caches })
}

fn decode(builder: &mut Builder<'_>, latents: &Value) -> Result<Value, BuildError> {
    let config = builder.config;
    let levels: Vec<usize> = config.block_out_channels.iter().rev().copied().collect();
    let mut at = Resolution::of_latents(&mut builder.graph, latents)?;
    let conv_in = "decoder.conv_in";
    let mut x = builder.causal_conv(latents, conv_in, config.latent_channels, &at.place)?;
    let mut channels = levels.first().copied().unwrap_or_default();
    for i in 0..2 {
        let name = format!("decoder.mid_block.resnets.{i}");
        x = resnet(builder, &x, &name, [channels, channels], &at)?;
    }
    for (level, &output) in levels.iter().enumerate() {
        for i in 0..=config.layers_per_block {
            let name = format!("decoder.up_blocks.{level}.resnets.{i}");
            x = resnet(builder, &x, &name, [channels, output], &at)?;
            channels = output;
        }
        if level + 1 < levels.len() {
            let name = format!("decoder.up_blocks.{level}.upsamplers.0.conv");
            x = builder.upsample(&x, &name)?;
            at = at.doubled(&mut builder.graph)?;
            if level < TIME_LEVELS {
                at = at.next_time_level(&mut builder.graph)?;
                let frames = frames_input(&mut builder.graph, at.time_level)?;
                x = builder.graph.gather(&x, &frames, 0);
            }
        }
    }
    x = builder.spatial_norm(&x, "decoder.norm_out", channels, &at)?;
    builder.causal_conv(&x, "decoder.conv_out", channels, &at.place)
}

fn resnet(
    builder: &mut Builder<'_>,
    x: &Value,
    name: &str,
    channels: [usize; 2],
    at: &Resolution,
) -> Result<Value, BuildError> {
    builder.resnet(x, name, channels, &at.place, &|builder, x, name, channels| {
        builder.spatial_norm(x, name, channels, at)
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::checkpoint::Checkpoint;

    /// The caches of real decoders were once cut off by operators of their own. ONNX Runtime ran those last, and kept
    /// the padded inputs of all convolutions until then: three times the memory.
    #[test]
    fn what_is_cached_is_made_by_an_operator_that_the_frames_need_too() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/checkpoints/sincos");
        let checkpoint = Checkpoint::open(Path::new(folder)).unwrap();
        let weights = checkpoint.weights_vae().unwrap();
        let Decoder { model, caches } = decoder(&checkpoint.vae, &weights).unwrap();
        let nodes = &model.graph().node;
        let maker = |name: &str| {
            nodes.iter().find(|node| node.output.iter().any(|output| output == name)).unwrap()
        };
        assert_eq!(caches.len(), 1 + 4 + 4 * 2 * 2 + 1);
        for cache in caches {
            let cut = maker(&maker(&cache.output).input[0]);
            let is_needed = |output| {
                nodes.iter().any(|node| node.op_type == "Conv" && node.input.contains(output))
            };
            assert!(cut.output.iter().any(is_needed), "{}", cache.output);
        }
    }
}
