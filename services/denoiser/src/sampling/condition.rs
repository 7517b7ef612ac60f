use cogwheel_tensor::Tensor;

use super::start::{padded, values};
use super::{SamplingError, SamplingRequest};

/// What stands on further channels of the input in every step.
#[derive(Clone, Debug)]
pub enum Condition {
    /// The image that the video starts from: fp32 [1, channels, height, width], scaled.
    Image(Tensor),
    /// The video that controls it: fp32 [frames, channels, height, width], scaled, without padding frames.
    Control(Tensor),
}

/// The condition's latents for all frames of the request, nothing for a model that takes none.
///
/// An image's are followed by zeros, as `CogVideoXImageToVideoPipeline.prepare_latents` has them; where CogVideoX 1.5
/// pads the video, the image stays in the first, padding frame, there as here.
pub(super) fn latents(
    request: &SamplingRequest,
    [input, output]: [usize; 2],
) -> Result<Option<Vec<f32>>, SamplingError> {
    let mut latents = match (&request.condition, input == output) {
        (None, true) => return Ok(None),
        (Some(Condition::Image(image)), false) => {
            let mut latents =
                values(image, &[1, output, request.shape[2], request.shape[3]], "image latents")?;
            latents.resize(request.shape.iter().product(), 0.0);
            latents
        }
        (Some(Condition::Control(video)), false) => {
            padded(video, &request.shape, "control latents")?
        }
        (condition, _) => {
            let found = if condition.is_some() { "some" } else { "none" };
            return Err(SamplingError::Condition { input, output, found });
        }
    };
    request.storage.round(&mut latents);
    Ok(Some(latents))
}

/// The latents of a step with the condition's behind them, frame by frame: [frames, 2 channels, height, width].
pub(super) fn joined(latents: &[f32], condition: &[f32], shape: [usize; 4]) -> Vec<f32> {
    let frame = shape[1..].iter().product::<usize>().max(1);
    let frames = latents.chunks_exact(frame).zip(condition.chunks_exact(frame));
    let mut joined = Vec::with_capacity(latents.len() + condition.len());
    for (latents, condition) in frames {
        joined.extend_from_slice(latents);
        joined.extend_from_slice(condition);
    }
    joined
}
