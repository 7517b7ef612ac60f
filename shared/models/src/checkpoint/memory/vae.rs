//! What the VAE needs.

use cogwheel_diffusion::geometry::ENCODE_BATCH;
use cogwheel_tensor::DType;

use super::{ARENA, Workload, latent_frames, product, weight_bytes};
use crate::{checkpoint::Checkpoint, names};

impl Checkpoint {
    /// Those of the decoder, and of the encoder where frames are encoded.
    pub(super) fn vae_weights(&self, dtype: DType, workload: &Workload) -> u64 {
        // It has no linear layers.
        let dtype = if dtype == DType::I8 { DType::F32 } else { dtype };
        let decoder = weight_bytes(&names::vae_decoder(&self.vae), dtype);
        let encoder = weight_bytes(&names::vae_encoder(&self.vae), dtype);
        decoder.saturating_add(if workload.encoded_frames > 0 { encoder } else { 0 })
    }

    /// The decoder's and the encoder's together: each keeps what it has once taken.
    pub(super) fn vae_elements(&self, workload: &Workload) -> u128 {
        self.decoder_elements(workload).saturating_add(self.encoder_elements(workload))
    }

    /// Those of whole frames, or of a tile and beside it the frames, a row of tiles and a tile more.
    fn decoder_elements(&self, workload: &Workload) -> u128 {
        let tiles = self.tiles();
        let scale = self.vae.spatial_compression_ratio();
        let sides = [workload.height / scale, workload.width / scale];
        if !workload.tiled || !tiles.cut(sides) {
            return self.decoder_chunk_elements(workload);
        }
        let [height, width] = [0, 1].map(|side| tiles.size()[side].min(sides[side]) * scale);
        let tile = Workload { height, width, ..*workload };
        // The last tile of each column with what it shares, less than twice the columns, and the next one.
        let row = product(&[workload.num_frames, 3, height, 2, workload.width]);
        let next = product(&[workload.num_frames, 3, height, width]);
        let frames = product(&[workload.num_frames, workload.height, workload.width, 3]);
        [row, next, frames]
            .iter()
            .fold(self.decoder_chunk_elements(&tile), |sum, &part| sum.saturating_add(part))
    }

    /// Of the largest chunk of whole frames, or of a tile; and beside it the moments of all frames, and these, of which a
    /// pixel has three bytes and not three elements.
    fn encoder_elements(&self, workload: &Workload) -> u128 {
        if workload.encoded_frames == 0 {
            return 0;
        }
        let (tiles, scale) = (self.tiles(), self.vae.spatial_compression_ratio());
        let sides = [workload.height / scale, workload.width / scale];
        let tile = match workload.tiled && tiles.cut(sides) {
            true => [0, 1].map(|side| tiles.size()[side].min(sides[side]) * scale),
            false => [workload.height, workload.width],
        };
        let frames = latent_frames(workload.encoded_frames, self.vae.temporal_compression_ratio);
        let moments = product(&[frames, 2 * self.vae.latent_channels, sides[0], sides[1]]);
        let pixels = product(&[workload.encoded_frames, workload.height, workload.width]);
        let chunk = self.encoder_chunk_elements(workload.encoded_frames, tile);
        chunk.saturating_add(moments).saturating_add(pixels)
    }

    /// At full size in the first block, as in [`Self::decoder_chunk_elements`]; where there is one chunk alone, no cache comes in.
    fn encoder_chunk_elements(&self, num_frames: usize, [height, width]: [usize; 2]) -> u128 {
        let config = &self.vae;
        let frames = (ENCODE_BATCH + num_frames % ENCODE_BATCH).min(num_frames);
        let outermost = config.block_out_channels.first().copied().unwrap_or(0);
        let working = product(&[3, outermost, frames + 2, height, width]);
        let planes = product(&[2, config.in_channels, frames, height, width]);
        let copies = if frames < num_frames { 4 } else { 2 };
        let mut caches = product(&[copies, config.in_channels, height, width]);
        let mut above = outermost;
        let smallest = config.block_out_channels.len().saturating_sub(1);
        for (level, &channels) in config.block_out_channels.iter().enumerate() {
            // The middle's four convolutions and the last one.
            let alone = if level == smallest { 5 * channels } else { 0 };
            let inputs = above + (2 * config.layers_per_block - 1) * channels + alone;
            let area = product(&[height >> level, width >> level]);
            caches = caches.saturating_add(area.saturating_mul(product(&[copies, inputs])));
            above = channels;
        }
        working.saturating_mul(ARENA).saturating_add(planes).saturating_add(caches)
    }

    /// At full size in the last block, three tensors as wide as the block's input and two frames longer than the chunk
    /// (input, norm, padded input of the convolution), doubled for the arena; and the caches of all
    /// convolutions, two frames of each one's input, once as they come in and once as they go out, which live on outside
    /// of the arena's reuse and are not doubled.
    fn decoder_chunk_elements(&self, workload: &Workload) -> u128 {
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

/// Frames of video that the largest chunk of diffusers' decoding gives: the first, of two latent frames and the odd one.
fn chunk_frames(latent_frames: usize) -> usize {
    match latent_frames {
        1 => 1,
        n if n % 2 == 0 => 8,
        _ => 9,
    }
}
