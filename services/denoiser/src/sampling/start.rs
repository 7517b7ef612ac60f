use cogwheel_diffusion::{
    noise::Generator,
    scheduler::{Scheduler, steps_taken},
};
use cogwheel_tensor::{DType, Tensor};

use super::{SamplingError, SamplingRequest};
use crate::transformer::ForwardError;

/// What a loop starts from.
#[derive(Clone, Debug, Default)]
pub struct Start {
    /// Used instead of drawn noise, fp32 of the request's shape.
    pub noise: Option<Tensor>,
    /// A video that is departed from.
    pub video: Option<StartVideo>,
    /// Numbers that were drawn with the seed before, all at once.
    pub values_drawn: usize,
}

/// A video that is departed from.
#[derive(Clone, Debug)]
pub struct StartVideo {
    /// fp32 [frames, channels, height, width], scaled, without padding frames.
    pub latents: Tensor,
    /// The share of the steps that are taken, above 0 and at most 1.
    pub strength: f64,
}

/// The index of the first step, the latents there, and the generator as it is then. `init_noise_sigma` is 1 for both
/// schedulers.
pub(super) fn start(
    request: &SamplingRequest,
    scheduler: &Scheduler,
) -> Result<(usize, Vec<f32>, Generator), SamplingError> {
    let Start { noise, video, values_drawn } = &request.start;
    let mut generator = Generator::new(request.seed);
    generator.normal_in(request.storage, *values_drawn);
    let mut latents = match noise {
        Some(given) => values(given, &request.shape, "initial latents")?,
        None => generator.normal_in(request.storage, request.shape.iter().product()),
    };
    let mut first = 0;
    if let Some(StartVideo { latents: video, strength }) = video {
        let steps = scheduler.timesteps().len();
        let taken = steps_taken(steps, *strength);
        if taken == 0 || *strength > 1.0 {
            return Err(SamplingError::Strength { strength: *strength, steps });
        }
        first = steps - taken;
        let clean = padded(video, &request.shape, "video latents")?;
        scheduler.add_noise(first, &clean, &mut latents, request.storage);
    }
    request.storage.round(&mut latents);
    Ok((first, latents, generator))
}

/// The latents of a video with its first frame repeated in front as often as whole patches want it, which is how
/// CogVideoX 1.5 was trained on videos.
pub(super) fn padded(
    video: &Tensor,
    shape: &[usize; 4],
    what: &'static str,
) -> Result<Vec<f32>, SamplingError> {
    let frames = video.shape().first().copied().unwrap_or(0);
    let padding = shape[0].saturating_sub(frames);
    let expected = [shape[0] - padding, shape[1], shape[2], shape[3]];
    let values = values(video, &expected, what)?;
    let frame = expected[1..].iter().product();
    let front = values[..values.len().min(frame)].repeat(padding);
    Ok([front, values].concat())
}

/// Finite fp32 values of a tensor of that shape.
pub(super) fn values(
    tensor: &Tensor,
    expected: &[usize; 4],
    what: &'static str,
) -> Result<Vec<f32>, SamplingError> {
    if tensor.dtype() != DType::F32 || tensor.shape() != expected {
        return Err(SamplingError::Latents {
            what,
            expected: *expected,
            dtype: tensor.dtype(),
            found: tensor.shape().to_vec(),
        });
    }
    let values = tensor.as_f32().map_err(ForwardError::from)?.into_owned();
    match values.iter().position(|value| !value.is_finite()) {
        Some(at) => Err(SamplingError::NotFinite { what, at, value: values[at] }),
        None => Ok(values),
    }
}
