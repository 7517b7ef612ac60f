//! The sampling loop: from noise to latents, one prediction a step.

mod condition;
mod error;
mod start;

use std::borrow::Cow;
use std::time::{Duration, Instant};

use cogwheel_diffusion::{
    guidance::{Guidance, combine},
    scheduler::{Scheduler, SchedulerConfig, SchedulerKind},
};
use cogwheel_engine::{CancellationToken, Variant};
use cogwheel_tensor::{Storage, Tensor};

use condition::joined;

use crate::transformer::{Conditions, ForwardError, Transformer};
pub use condition::Condition;
pub use error::SamplingError;
pub use start::{Start, StartVideo};

/// One video's latents, asked for.
#[derive(Clone, Debug)]
pub struct SamplingRequest {
    /// Of the latents: frames (padding included), channels, height, width.
    pub shape: [usize; 4],
    /// fp32 `[1, max_text_seq_length, text_embed_dim]`.
    pub prompt_embeds: Tensor,
    /// The same shape; read only when guidance is on, and needed then.
    pub negative_prompt_embeds: Option<Tensor>,
    /// Which sampler takes the steps.
    pub scheduler: SchedulerKind,
    /// The checkpoint's scheduler config.
    pub scheduler_config: SchedulerConfig,
    /// Steps.
    pub num_inference_steps: usize,
    /// Whether and how strongly the prompt guides.
    pub guidance: Guidance,
    /// Of all noise that is drawn: what was drawn before, the initial latents (unless given), then the scheduler's.
    pub seed: u64,
    /// Where to start.
    pub start: Start,
    /// What the model sees beside the prompt: wanted where it takes more channels than it gives.
    pub condition: Option<Condition>,
    /// What the embeddings, the noise, and the latents between steps are rounded to.
    pub storage: Storage,
    /// The variant of the model to sample with; the model as it is where there is none.
    pub variant: Option<Variant>,
}

/// A finished step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepCompleted {
    /// Steps finished, this one included.
    pub step: usize,
    /// Steps in all.
    pub num_inference_steps: usize,
    /// Training timestep that it was at.
    pub timestep: i64,
    /// Time it took.
    pub elapsed: Duration,
}

/// Latents after the last step, and where the time went.
#[derive(Clone, Debug)]
pub struct Sampled {
    /// fp32 of the request's shape, padding frames included.
    pub latents: Tensor,
    /// Time of the whole loop.
    pub total: Duration,
    /// The part of it inside ONNX Runtime.
    pub inside: Duration,
}

/// Runs the loop of `__call__` of diffusers' `CogVideoXPipeline`, and of those that start from an image or a video or
/// are controlled by one, between encoding and decoding, in fp32: one batched forward a step, the negative prompt first,
/// then guidance and scheduler.
/// Between steps latents are rounded to `storage`, in which the noise is drawn too, as torch draws
/// it in that dtype.
///
/// `on_step` is called after each step, on this thread.
///
/// # Errors
/// [`SamplingError`]; [`SamplingError::is_cancelled`] when `cancellation` fired, which is looked
/// at before every step and within every forward.
pub fn sample(
    model: &mut Transformer,
    request: &SamplingRequest,
    cancellation: &CancellationToken,
    on_step: &mut dyn FnMut(StepCompleted),
) -> Result<Sampled, SamplingError> {
    let start = Instant::now();
    let inside = model.time_inside();
    let mut scheduler =
        Scheduler::new(request.scheduler, &request.scheduler_config, request.num_inference_steps)?;
    let conditions = conditions(model, request)?;
    let condition = condition::latents(request, channels(model))?;
    let (first, mut latents, mut generator) = start::start(request, &scheduler)?;

    // The scheduler changes itself as it steps.
    let timesteps = scheduler.timesteps().to_vec();
    let num_inference_steps = timesteps.len() - first;
    for (index, timestep) in timesteps.into_iter().enumerate().skip(first) {
        let step_start = Instant::now();
        let _span = tracing::info_span!("step", index = index + 1 - first).entered();
        let input = match &condition {
            Some(condition) => Cow::Owned(joined(&latents, condition, request.shape)),
            None => Cow::Borrowed(&latents[..]),
        };
        let prediction = model.forward(&conditions, &input, timestep, cancellation)?;
        let prediction = prediction.as_f32().map_err(ForwardError::from)?;
        // Where a video is given, dynamic guidance counts the steps that are taken.
        let scale = request.guidance.scale_at(timestep, num_inference_steps);
        let guided = guide(&prediction, request.guidance, scale);
        let mut noise = |count: usize| generator.normal_in(request.storage, count);
        scheduler.step(index, &guided, &mut latents, &mut noise);
        request.storage.round(&mut latents);
        let step = index + 1 - first;
        if !latents.iter().all(|value| value.is_finite()) {
            return Err(SamplingError::Diverged { step, steps: num_inference_steps });
        }
        let elapsed = step_start.elapsed();
        on_step(StepCompleted { step, num_inference_steps, timestep, elapsed });
    }
    let latents = Tensor::from_f32(request.shape, latents).map_err(ForwardError::from)?;
    Ok(Sampled { latents, total: start.elapsed(), inside: model.time_inside() - inside })
}

/// The prompts as one batch: with guidance the negative one first.
fn conditions(model: &Transformer, request: &SamplingRequest) -> Result<Conditions, SamplingError> {
    let prompt = &request.prompt_embeds;
    let text = match (request.guidance, &request.negative_prompt_embeds) {
        (Guidance::Off, _) => prompt.clone(),
        (_, None) => return Err(SamplingError::NoNegativePrompt),
        (_, Some(negative)) => pair(negative, prompt)?,
    };
    let text = rounded(text, request.storage)?;
    let [frames, channels, height, width] = request.shape;
    let [input, output] = self::channels(model);
    let shape = [frames, channels + (input - output), height, width];
    Ok(model.conditions(shape, text)?.of_variant(request.variant.clone()))
}

/// That the model takes, at least as many as it gives, and that it gives.
fn channels(model: &Transformer) -> [usize; 2] {
    let (input, output) = (model.config().in_channels, model.config().out_channels);
    [input.max(output), output]
}

/// Two embeddings of `[1, tokens, channels]` one after the other.
fn pair(first: &Tensor, second: &Tensor) -> Result<Tensor, SamplingError> {
    if first.shape() != second.shape() || first.shape().first() != Some(&1) {
        return Err(SamplingError::Prompts {
            negative: first.shape().to_vec(),
            prompt: second.shape().to_vec(),
        });
    }
    let mut values = first.as_f32().map_err(ForwardError::from)?.into_owned();
    values.extend_from_slice(&second.as_f32().map_err(ForwardError::from)?);
    let mut shape = first.shape().to_vec();
    shape[0] = 2;
    Ok(Tensor::from_f32(shape, values).map_err(ForwardError::from)?)
}

fn rounded(tensor: Tensor, storage: Storage) -> Result<Tensor, ForwardError> {
    if storage == Storage::Fp32 {
        return Ok(tensor);
    }
    let mut values = tensor.as_f32()?.into_owned();
    storage.round(&mut values);
    Ok(Tensor::from_f32(tensor.shape(), values)?)
}

fn guide(prediction: &[f32], guidance: Guidance, scale: f64) -> Vec<f32> {
    if guidance == Guidance::Off {
        return prediction.to_vec();
    }
    let (negative, prompt) = prediction.split_at(prediction.len() / 2);
    let mut guided = vec![0.0; prompt.len()];
    combine(negative, prompt, scale, &mut guided);
    guided
}

#[cfg(test)]
mod tests;
