//! Sizes: of the latents that a video needs, of the patches they are cut into, of the chunks they are decoded in.

mod chunks;
mod error;
mod patches;
mod tiles;

pub use chunks::{decode_chunks, decoded_frames, encode_chunks, frames_of_chunk};
pub use error::GeometryError;
pub use patches::{patchify, unpatchify};
pub use tiles::{Cuts, Tiles};

/// Latent frames that the decoder takes at a time: `num_latent_frames_batch_size` of `AutoencoderKLCogVideoX`.
const DECODE_BATCH: usize = 2;

/// Frames that the encoder takes at a time: `num_sample_frames_batch_size`.
pub const ENCODE_BATCH: usize = 8;

/// The sizes in a checkpoint's configurations that a video's geometry follows from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GeometryConfig {
    /// Channels of the latents that noise is drawn for: the transformer's `out_channels`, 16 as published.
    pub latent_channels: usize,
    /// Pixels per latent along each side: 2 to the number of the VAE's blocks but one, 8 as published.
    pub spatial_compression: usize,
    /// Frames per latent frame: the VAE's `temporal_compression_ratio`, 4 as published.
    pub temporal_compression: usize,
    /// Latents per token along each side.
    pub patch_size: usize,
    /// Latent frames per token: in CogVideoX 1.5 alone.
    pub patch_size_t: Option<usize>,
}

/// The latents of one video: [frames, channels, height, width].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LatentGeometry {
    /// Latent frames that are drawn and denoised, padding included.
    pub frames: usize,
    /// Channels of the noise.
    pub channels: usize,
    /// Height in latents.
    pub height: usize,
    /// Width in latents.
    pub width: usize,
    /// How many of the first latent frames are dropped before decoding: they fill up CogVideoX 1.5's patches.
    pub padding_frames: usize,
}

/// The tokens of a video: frames, rows and columns; a token's place in the sequence counts columns first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenGrid {
    /// Latent frames, or pairs of them in CogVideoX 1.5.
    pub frames: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl LatentGeometry {
    /// The latents of a video of `num_frames` frames and `width` x `height` pixels, as `CogVideoXPipeline.__call__`
    /// counts them.
    ///
    /// # Errors
    ///
    /// All that is wrong at once: see [`GeometryError`].
    pub fn new(
        config: &GeometryConfig,
        num_frames: usize,
        width: usize,
        height: usize,
    ) -> Result<Self, Vec<GeometryError>> {
        let (side_step, frame_step) = steps(config)?;
        let mut errors = Vec::new();
        if num_frames <= frame_step || num_frames % frame_step != 1 {
            let nearest = nearest(num_frames.saturating_sub(1), frame_step);
            let nearest = nearest.into_iter().filter_map(|value| value.checked_add(1)).collect();
            errors.push(GeometryError::NumFrames { found: num_frames, step: frame_step, nearest });
        }
        for (side, found) in [("width", width), ("height", height)] {
            if found == 0 || !found.is_multiple_of(side_step) {
                let nearest = nearest(found, side_step);
                errors.push(GeometryError::Side { side, found, step: side_step, nearest });
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }

        let unpadded = (num_frames - 1) / config.temporal_compression + 1;
        let frames = unpadded.checked_next_multiple_of(config.patch_size_t.unwrap_or(1));
        let geometry = Self {
            frames: frames.unwrap_or(usize::MAX),
            channels: config.latent_channels,
            height: height / config.spatial_compression,
            width: width / config.spatial_compression,
            padding_frames: frames.unwrap_or(unpadded) - unpadded,
        };
        let bytes = geometry.shape().into_iter().try_fold(size_of::<f32>(), usize::checked_mul);
        match bytes {
            Some(bytes) if bytes <= isize::MAX as usize => Ok(geometry),
            _ => Err(vec![GeometryError::TooLarge { num_frames, width, height }]),
        }
    }

    /// Frames, channels, height, width.
    pub fn shape(&self) -> [usize; 4] {
        [self.frames, self.channels, self.height, self.width]
    }

    /// How many numbers the latents have.
    pub fn element_count(&self) -> usize {
        self.shape().into_iter().product()
    }

    /// Latent frames that are decoded.
    pub fn decoded_frames(&self) -> usize {
        self.frames - self.padding_frames
    }

    /// The tokens that a transformer of these patch sizes (at least 1) makes of the latents.
    pub fn token_grid(&self, patch_size: usize, patch_size_t: Option<usize>) -> TokenGrid {
        TokenGrid {
            frames: self.frames.div_ceil(patch_size_t.unwrap_or(1)),
            height: self.height / patch_size,
            width: self.width / patch_size,
        }
    }
}

impl TokenGrid {
    /// How many tokens there are.
    pub fn token_count(&self) -> usize {
        self.frames * self.height * self.width
    }
}

/// The distances between possible sides and between possible numbers of frames. The latter is two latent frames:
/// the decoder gives every frame but the first of an odd number of latent frames, 4 as published, and of an even
/// number a frame count that no request names.
fn steps(config: &GeometryConfig) -> Result<(usize, usize), Vec<GeometryError>> {
    let sizes = [
        ("latent_channels", config.latent_channels),
        ("spatial_compression", config.spatial_compression),
        ("temporal_compression", config.temporal_compression),
        ("patch_size", config.patch_size),
        ("patch_size_t", config.patch_size_t.unwrap_or(1)),
    ];
    // Far beyond any model, and small enough that products of two cannot overflow.
    let usable = 1..=1usize << 15;
    let errors: Vec<_> = sizes
        .into_iter()
        .filter(|(_, found)| !usable.contains(found))
        .map(|(key, found)| GeometryError::Config { key, found })
        .collect();
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok((config.spatial_compression * config.patch_size, DECODE_BATCH * config.temporal_compression))
}

/// The multiples of `step`, at least one of it, below and above a value that is none.
fn nearest(found: usize, step: usize) -> Vec<usize> {
    let below = found / step * step;
    [Some(below).filter(|&below| below > 0), below.checked_add(step)]
        .into_iter()
        .flatten()
        .collect()
}
