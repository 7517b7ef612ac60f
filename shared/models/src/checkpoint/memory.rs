use cogwheel_tensor::DType;

use cogwheel_diffusion::geometry::Tiles;

use super::Checkpoint;
use crate::names;

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
    /// Whether the VAE decodes in tiles.
    pub tiled: bool,
}

/// Bytes that each stage needs, when it alone is loaded and at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryEstimate {
    /// The text encoder, encoding `batch` prompts.
    pub text_encoder: StageMemory,
    /// The transformer, in one step.
    pub transformer: StageMemory,
    /// The VAE's decoder, at its largest chunk.
    pub vae_decoder: StageMemory,
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
        [self.text_encoder, self.transformer, self.vae_decoder]
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
    /// both on the CPU provider, which computes neither F16 nor BF16; I8 for weights quantized to bytes.
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
                weights: weight_bytes(&names::transformer(&self.transformer), weights),
                activations: bytes(self.transformer_elements(workload).saturating_mul(ARENA)),
            },
            vae_decoder: StageMemory {
                weights: weight_bytes(&names::vae_decoder(&self.vae), weights),
                activations: bytes(self.vae_elements(workload)),
            },
        }
    }

    /// In half precision, and only there, `wo` stays fp32, as transformers keeps it.
    fn text_encoder_weights(&self, dtype: DType) -> u64 {
        let tensors = names::text_encoder(&self.text_encoder);
        let all = weight_bytes(&tensors, dtype);
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

    /// Those of whole frames, or of a tile and beside it the frames, a row of tiles and a tile more.
    fn vae_elements(&self, workload: &Workload) -> u128 {
        let tiles = self.tiles();
        let scale = self.vae.spatial_compression_ratio();
        let sides = [workload.height / scale, workload.width / scale];
        if !workload.tiled || !tiles.cut(sides) {
            return self.vae_decoder_elements(workload);
        }
        let [height, width] = [0, 1].map(|side| tiles.size()[side].min(sides[side]) * scale);
        let tile = Workload { height, width, ..*workload };
        // The last tile of each column with what it shares, less than twice the columns, and the next one.
        let row = product(&[workload.num_frames, 3, height, 2, workload.width]);
        let next = product(&[workload.num_frames, 3, height, width]);
        let frames = product(&[workload.num_frames, workload.height, workload.width, 3]);
        [row, next, frames]
            .iter()
            .fold(self.vae_decoder_elements(&tile), |sum, &part| sum.saturating_add(part))
    }

    /// The memory of each stage in fp32, and whether the VAE decodes in tiles for it: where `in_tiles` says so of the bytes
    /// that decoding whole frames would need.
    pub fn memory_need(
        &self,
        workload: &Workload,
        in_tiles: impl FnOnce(u64) -> bool,
    ) -> (MemoryEstimate, bool) {
        let need = |workload| self.memory_estimate(DType::F32, DType::F32, workload);
        let whole = need(workload);
        match in_tiles(whole.vae_decoder.total()) {
            true => (need(&Workload { tiled: true, ..*workload }), true),
            false => (whole, false),
        }
    }

    /// The tiles that the VAE decodes in where it is to.
    pub fn tiles(&self) -> Tiles {
        let sample = [self.vae.sample_height, self.vae.sample_width];
        Tiles::of_frames(sample, self.vae.spatial_compression_ratio())
    }

    /// At full size in the last block, three tensors as wide as the block's input and two frames longer than the chunk
    /// (input, norm, padded input of the convolution), doubled for the arena; and the caches of all
    /// convolutions, two frames of each one's input, once as they come in and once as they go out, which live on outside
    /// of the arena's reuse and are not doubled.
    fn vae_decoder_elements(&self, workload: &Workload) -> u128 {
        let config = &self.vae;
        let frames =
            chunk_frames(latent_frames(workload.num_frames, config.temporal_compression_ratio));
        let widest = config.block_out_channels.iter().take(2).copied().max().unwrap_or(0);
        let working = product(&[3, widest, frames + 2, workload.height, workload.width]);
        let mut caches = 0u128;
        let mut below = config.block_out_channels.last().copied().unwrap_or(0);
        // Convolutions without a block of their own: the first and the middle's four at the latents' size, the last.
        let outermost = config.block_out_channels.first().copied().unwrap_or(0);
        let smallest = config.block_out_channels.len().saturating_sub(1);
        let alone = [(smallest, config.latent_channels + 4 * below), (0, outermost)];
        for (level, &channels) in config.block_out_channels.iter().enumerate().rev() {
            let alone = alone.iter().filter(|(at, _)| *at == level).map(|(_, inputs)| inputs);
            let inputs =
                below + (2 * (config.layers_per_block + 1) - 1) * channels + alone.sum::<usize>();
            let area = product(&[workload.height >> level, workload.width >> level]);
            caches = caches.saturating_add(area.saturating_mul(product(&[4, inputs])));
            below = channels;
        }
        working.saturating_mul(ARENA).saturating_add(caches)
    }
}

/// See [`Checkpoint::memory_estimate`].
const ARENA: u128 = 2;

fn latent_frames(num_frames: usize, ratio: usize) -> usize {
    num_frames.saturating_sub(1) / ratio + 1
}

/// Frames of video that the largest chunk of diffusers' decoding gives: the first, of two latent frames and the odd one.
fn chunk_frames(latent_frames: usize) -> usize {
    match latent_frames {
        1 => 1,
        n if n % 2 == 0 => 8,
        _ => 9,
    }
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
