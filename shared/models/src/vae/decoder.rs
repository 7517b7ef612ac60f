use cogwheel_graph::{Dim, GraphBuilder, Model, Value};
use cogwheel_tensor::DType;
use cogwheel_weights::{Strictness, Weights};

use super::{
    causal_conv::{ConvCache, LEAD},
    frames::{TIME_LEVELS, frames_input},
    resolution::Resolution,
};
use crate::{BuildError, config::VaeConfig, names};

/// The decoder's graph and what it carries from one chunk to the next.
#[derive(Debug)]
pub struct Decoder {
    /// The graph, weights contained. Inputs: `latents` [frames, channels, height, width] fp32, divided by the scaling
    /// factor; those of [`super::chunk_inputs`]; and every cache. Outputs: `frames` [frames, 3, 8 height, 8 width]
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
    let mut builder = DecoderBuilder::new(config, weights)?;
    let frames = builder.build()?;
    builder.finish(&frames)
}

/// The graph under way, and what all its parts refer to.
pub(super) struct DecoderBuilder<'a> {
    pub(super) graph: GraphBuilder,
    pub(super) config: &'a VaeConfig,
    pub(super) weights: &'a Weights,
    /// The chunk itself: every norm is conditioned on it.
    pub(super) latents: Value,
    /// Which frames go in front of a convolution's input where nothing is cached.
    pub(super) lead: Value,
    pub(super) caches: Vec<(ConvCache, Value)>,
}

impl<'a> DecoderBuilder<'a> {
    fn new(config: &'a VaeConfig, weights: &'a Weights) -> Result<Self, BuildError> {
        let mut graph = GraphBuilder::new("vae_decoder");
        let dims = [
            Dim::Free("latent_frames"),
            Dim::Fixed(config.latent_channels),
            Dim::Free("height"),
            Dim::Free("width"),
        ];
        let latents = graph.input("latents", DType::F32, &dims)?;
        let lead = graph.input(LEAD, DType::I64, &[Dim::Free("lead")])?;
        Ok(Self { graph, config, weights, latents, lead, caches: Vec::new() })
    }

    fn build(&mut self) -> Result<Value, BuildError> {
        let levels: Vec<usize> = self.config.block_out_channels.iter().rev().copied().collect();
        let mut at = Resolution::of_latents(&mut self.graph, &self.latents)?;
        let latents = self.latents.clone();
        let mut x =
            self.causal_conv(&latents, "decoder.conv_in", self.config.latent_channels, &at)?;
        let mut channels = levels.first().copied().unwrap_or_default();
        for i in 0..2 {
            let name = format!("decoder.mid_block.resnets.{i}");
            x = self.resnet(&x, &name, [channels, channels], &at)?;
        }
        for (level, &output) in levels.iter().enumerate() {
            for i in 0..=self.config.layers_per_block {
                let name = format!("decoder.up_blocks.{level}.resnets.{i}");
                x = self.resnet(&x, &name, [channels, output], &at)?;
                channels = output;
            }
            if level + 1 < levels.len() {
                let name = format!("decoder.up_blocks.{level}.upsamplers.0.conv");
                x = self.upsample(&x, &name)?;
                at = at.doubled(&mut self.graph)?;
                if level < TIME_LEVELS {
                    at = at.next_time_level(&mut self.graph)?;
                    let frames = frames_input(&mut self.graph, at.time_level)?;
                    x = self.graph.gather(&x, &frames, 0);
                }
            }
        }
        x = self.spatial_norm(&x, "decoder.norm_out", channels, &at)?;
        self.causal_conv(&x, "decoder.conv_out", channels, &at)
    }

    fn finish(mut self, frames: &Value) -> Result<Decoder, BuildError> {
        let channels = Dim::Fixed(self.config.out_channels);
        let [height, width] = Resolution::dims(self.config.spatial_compression_ratio());
        self.graph.output("frames", frames, &[Dim::Free("frames"), channels, height, width])?;
        let mut caches = Vec::with_capacity(self.caches.len());
        for (cache, value) in self.caches {
            cache.declare_output(&mut self.graph, &value)?;
            caches.push(cache);
        }
        Ok(Decoder { model: self.graph.finish(), caches })
    }
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
