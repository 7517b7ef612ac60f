use cogwheel_models::config::VaeConfig;
use cogwheel_tensor::{Storage, Tensor, TensorError};

use crate::VaeError;

/// What latents are for: diffusers' pipelines draw and scale them each in its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LatentUse {
    /// The image that a video starts from: drawn, and scaled by the factor, or by its inverse where the config says
    /// `invert_scale_latents` (`CogVideoXImageToVideoPipeline.prepare_latents`).
    Image,
    /// The video that another one is made of: drawn and scaled (`CogVideoXVideoToVideoPipeline.prepare_latents`).
    Video,
    /// The video that controls another one: the likeliest, scaled
    /// (`CogVideoXFunControlPipeline.prepare_control_latents`).
    Control,
}

/// The normal distribution of a clip's latents, as diffusers' `DiagonalGaussianDistribution`, not scaled.
#[derive(Clone, Debug)]
pub struct Posterior {
    /// [frames, channels, height, width].
    shape: [usize; 4],
    means: Vec<f32>,
    /// Logarithms of the variances, within [`LOG_VARIANCES`].
    log_variances: Vec<f32>,
}

/// Beyond these they are cut off.
const LOG_VARIANCES: [f32; 2] = [-30.0, 20.0];

impl Posterior {
    /// Of moments [frames, 2 channels, height, width], of one chunk after another.
    pub(super) fn new(chunks: &[Tensor]) -> Result<Self, VaeError> {
        let (mut shape, mut means, mut log_variances) = ([0; 4], Vec::new(), Vec::new());
        for chunk in chunks {
            let &[frames, both, height, width] = chunk.shape() else { continue };
            shape = [shape[0] + frames, both / 2, height, width];
            let values = chunk.as_f32()?;
            let half = both / 2 * height * width;
            for frame in values.chunks_exact((2 * half).max(1)) {
                let (mean, log_variance) = frame.split_at(half);
                means.extend_from_slice(mean);
                let [least, most] = LOG_VARIANCES;
                log_variances.extend(log_variance.iter().map(|value| value.clamp(least, most)));
            }
        }
        Ok(Self { shape, means, log_variances })
    }

    /// [frames, channels, height, width].
    pub fn shape(&self) -> [usize; 4] {
        self.shape
    }

    /// The likeliest latents, which are the means.
    ///
    /// # Errors
    /// [`TensorError`] for sizes that no tensor can have.
    pub fn mode(&self) -> Result<Tensor, TensorError> {
        Tensor::from_f32(self.shape, self.means.clone())
    }

    /// `mean + exp(log variance / 2) * noise`; the noise is counted as torch draws it, [channels, frames, height, width].
    ///
    /// # Errors
    /// [`TensorError`] where the noise is of another length.
    pub fn sample(&self, noise: &[f32]) -> Result<Tensor, TensorError> {
        let [frames, channels, height, width] = self.shape;
        // A length that does not fit makes a tensor that does not.
        if noise.len() != self.means.len() {
            return Tensor::from_f32(self.shape, noise.to_vec());
        }
        let area = height * width;
        let mut values = Vec::with_capacity(self.means.len());
        for (frame, channel) in (0..frames).flat_map(|f| (0..channels).map(move |c| (f, c))) {
            let ours = (frame * channels + channel) * area;
            let theirs = (channel * frames + frame) * area;
            values.extend((0..area).map(|at| {
                let deviation = (0.5 * self.log_variances[ours + at]).exp();
                self.means[ours + at] + deviation * noise[theirs + at]
            }));
        }
        Tensor::from_f32(self.shape, values)
    }

    /// Latents as the denoiser takes them for that use, scaled and rounded to `storage`; drawn with `noise`, of which
    /// [`LatentUse::Control`] needs none.
    ///
    /// # Errors
    /// As [`Self::sample`].
    pub fn latents(
        &self,
        purpose: LatentUse,
        config: &VaeConfig,
        storage: Storage,
        noise: &[f32],
    ) -> Result<Tensor, VaeError> {
        let drawn = match purpose {
            LatentUse::Image | LatentUse::Video => self.sample(noise)?,
            LatentUse::Control => self.mode()?,
        };
        let inverted = purpose == LatentUse::Image && config.invert_scale_latents;
        let factor = if inverted { 1.0 / config.scaling_factor } else { config.scaling_factor };
        let mut values = drawn.as_f32()?.into_owned();
        values.iter_mut().for_each(|value| *value *= factor as f32);
        storage.round(&mut values);
        Ok(Tensor::from_f32(self.shape, values)?)
    }

    /// The logarithms of the variances, as the means are laid out.
    pub fn log_variances(&self) -> &[f32] {
        &self.log_variances
    }
}
