mod vae;

use cogwheel_diffusion::geometry::Tiles;
use cogwheel_tensor::DType;

use super::{Checkpoint, Conditioning};
use crate::{names, text_encoder, transformer};

/// What one request computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Sequences in one forward of the transformer: 2 with guidance, 1 without.
    pub batch: usize,
    /// Frames of video.
    pub num_frames: usize,
    /// Pixels.
    pub height: usize,
    /// Pixels.
    pub width: usize,
    /// Frames that the VAE encodes: 1 of an image, those of a video, or none.
    pub encoded_frames: usize,
    /// Whether the VAE works in tiles.
    pub tiled: bool,
}

/// Bytes that each stage needs, when it alone is loaded and at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryEstimate {
    /// The text encoder, encoding `batch` prompts.
    pub text_encoder: StageMemory,
    /// The transformer, in one step.
    pub transformer: StageMemory,
    /// The VAE at its largest chunk: the decoder, and the encoder where frames are encoded.
    pub vae: StageMemory,
}

/// Bytes that one stage needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StageMemory {
    /// Of its weights.
    pub weights: u64,
    /// Of what it computes, at the peak: an estimate.
    pub activations: u64,
}

impl MemoryEstimate {
    /// The stages in the order of their work.
    pub fn stages(&self) -> [StageMemory; 3] {
        [self.text_encoder, self.transformer, self.vae]
    }

    /// All stages at once.
    pub fn together(&self) -> u64 {
        self.stages().map(StageMemory::total).into_iter().fold(0, u64::saturating_add)
    }

    /// The largest stage, when they are loaded one after another.
    pub fn largest(&self) -> u64 {
        self.stages().map(StageMemory::total).into_iter().max().unwrap_or(0)
    }

    /// The weights of all stages.
    pub fn weights(&self) -> u64 {
        self.stages().into_iter().map(|stage| stage.weights).fold(0, u64::saturating_add)
    }
}

impl StageMemory {
    /// Weights and activations together.
    pub fn total(self) -> u64 {
        self.weights.saturating_add(self.activations)
    }
}

impl Checkpoint {
    /// Estimates the memory of each stage, its weights held in `weights` and its activations in `activations`: F32 for
    /// both on the CPU provider, which computes neither F16 nor BF16; I8 for linear layers quantized to bytes.
    ///
    /// Weights are exact but for the runtime's packed copies. Activations are counted tensor by tensor at the widest
    /// point of a block, from the mathematics of the models, and doubled for the arena of ONNX Runtime, which grows by
    /// powers of two and does not give back: for a transformer 1,920 wide over 2 x 2,146 tokens this gives 725 MB in
    /// fp32, and 700 MB were measured. For the published VAE's decoder over 17 frames of 192x256 it gives 4.92 GB, and
    /// 4.19 GB were measured.
    pub fn memory_estimate(
        &self,
        weights: DType,
        activations: DType,
        workload: &Workload,
    ) -> MemoryEstimate {
        let bytes = |elements: u128| saturate(elements.saturating_mul(activations.size() as u128));
        MemoryEstimate {
            text_encoder: StageMemory {
                weights: self.text_encoder_weights(weights),
                activations: bytes(self.text_encoder_elements(workload).saturating_mul(ARENA)),
            },
            transformer: StageMemory {
                weights: stage_bytes(
                    &names::transformer(&self.transformer),
                    weights,
                    transformer::is_quantized,
                ),
                activations: bytes(self.transformer_elements(workload).saturating_mul(ARENA)),
            },
            vae: StageMemory {
                weights: self.vae_weights(weights, workload),
                activations: bytes(self.vae_elements(workload)),
            },
        }
    }

    /// In half precision, and only there, `wo` stays fp32, as transformers keeps it.
    fn text_encoder_weights(&self, dtype: DType) -> u64 {
        let tensors = names::text_encoder(&self.text_encoder);
        let all = stage_bytes(&tensors, dtype, text_encoder::is_quantized);
        if dtype != DType::F16 {
            return all;
        }
        let wo = tensors.iter().filter(|tensor| names::is_kept_fp32(&tensor.name));
        all.saturating_add(wo.map(names::elements).sum::<u64>() * 2)
    }

    /// The residual and its norm, and beside them either queries, keys, values, result and twice the scores (before and
    /// after the softmax), or both halves of the gated feed-forward and their product.
    fn text_encoder_elements(&self, workload: &Workload) -> u128 {
        let config = &self.text_encoder;
        let tokens = self.transformer.max_text_seq_length;
        let attention = 4 * config.inner_dim() + 2 * config.num_heads * tokens;
        let width = 2 * config.d_model + attention.max(3 * config.d_ff);
        product(&[workload.batch, tokens, width])
    }

    /// Eleven times the hidden state: the residual, its norm, the norm joined of text and video, and the feed-forward's
    /// four-fold width before and after GELU. Attention takes less, since it never holds the scores.
    fn transformer_elements(&self, workload: &Workload) -> u128 {
        let config = &self.transformer;
        let ratio = self.vae.spatial_compression_ratio() * config.patch_size;
        let frames = latent_frames(workload.num_frames, config.temporal_compression_ratio)
            .div_ceil(config.patch_size_t.unwrap_or(1));
        let video = product(&[frames, workload.height / ratio, workload.width / ratio]);
        let tokens = video.saturating_add(config.max_text_seq_length as u128);
        tokens.saturating_mul(product(&[workload.batch, 11, config.inner_dim()]))
    }

    /// How many frames a request encodes that makes `num_frames` frames, beginning from a video or not where the model leaves
    /// that open.
    pub fn encoded_frames(&self, num_frames: usize, from_video: bool) -> usize {
        match self.family.conditioning {
            Conditioning::Image => 1,
            Conditioning::Control => num_frames,
            Conditioning::Text if from_video => num_frames,
            Conditioning::Text => 0,
        }
    }

    /// The memory of each stage on the CPU, and whether the VAE works in tiles for it: where `in_tiles` says so of the bytes
    /// that whole frames would need.
    pub fn memory_need(
        &self,
        workload: &Workload,
        in_tiles: impl FnOnce(u64) -> bool,
    ) -> (MemoryEstimate, bool) {
        let weights = if self.quantized { DType::I8 } else { DType::F32 };
        let need = |workload| self.memory_estimate(weights, DType::F32, workload);
        let whole = need(workload);
        match in_tiles(whole.vae.total()) {
            true => (need(&Workload { tiled: true, ..*workload }), true),
            false => (whole, false),
        }
    }

    /// The tiles that the VAE works in where it is to.
    pub fn tiles(&self) -> Tiles {
        let sample = [self.vae.sample_height, self.vae.sample_width];
        Tiles::of_frames(sample, self.vae.spatial_compression_ratio())
    }
}

/// See [`Checkpoint::memory_estimate`].
const ARENA: u128 = 2;

fn latent_frames(num_frames: usize, ratio: usize) -> usize {
    num_frames.saturating_sub(1) / ratio + 1
}

/// Of weights in `dtype`; where that is bytes, of those that are quantized, and of the others in fp32.
fn stage_bytes(
    tensors: &[cogwheel_weights::ExpectedTensor],
    dtype: DType,
    is_quantized: fn(&str) -> bool,
) -> u64 {
    if dtype != DType::I8 {
        return weight_bytes(tensors, dtype);
    }
    // Vectors are no layers' weights.
    let in_bytes = |tensor: &&cogwheel_weights::ExpectedTensor| {
        tensor.shape.len() == 2 && is_quantized(&tensor.name)
    };
    let quantized: u64 = tensors.iter().filter(in_bytes).map(names::elements).sum();
    weight_bytes(tensors, DType::F32).saturating_sub(quantized.saturating_mul(3))
}

fn weight_bytes(tensors: &[cogwheel_weights::ExpectedTensor], dtype: DType) -> u64 {
    let elements: u64 = tensors.iter().map(names::elements).sum();
    elements.saturating_mul(dtype.size() as u64)
}

/// A request's sizes may be anything.
fn product(factors: &[usize]) -> u128 {
    factors.iter().fold(1, |product, &factor| product.saturating_mul(factor as u128))
}

fn saturate(bytes: u128) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
