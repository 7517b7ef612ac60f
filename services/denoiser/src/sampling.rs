//! The sampling loop: from noise to latents, one prediction a step.

mod error;

use std::time::{Duration, Instant};

use cogwheel_diffusion::{
    guidance::{Guidance, combine},
    noise::Generator,
    scheduler::{Scheduler, SchedulerConfig, SchedulerKind},
};
use cogwheel_engine::{CancellationToken, Variant};
use cogwheel_tensor::{DType, Storage, Tensor};

use crate::transformer::{Conditions, ForwardError, Transformer};
pub use error::SamplingError;

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
    /// Of all noise that is drawn: first the initial latents (unless given), then the scheduler's.
    pub seed: u64,
    /// Where to start, fp32 of `shape`, instead of noise of our own.
    pub initial_latents: Option<Tensor>,
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

/// Runs the loop of diffusers' `CogVideoXPipeline.__call__` between its prompts and its decoding,
/// in fp32: one batched forward a step, the negative prompt first, then guidance and scheduler.
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
    let steps = request.num_inference_steps;
    let mut scheduler = Scheduler::new(request.scheduler, &request.scheduler_config, steps)?;
    let conditions = conditions(model, request)?;
    let mut generator = Generator::new(request.seed);
    let mut latents = initial_latents(request, &mut generator)?;

    // The scheduler changes itself as it steps.
    let timesteps = scheduler.timesteps().to_vec();
    let num_inference_steps = timesteps.len();
    for (index, timestep) in timesteps.into_iter().enumerate() {
        let step_start = Instant::now();
        let prediction = model.forward(&conditions, &latents, timestep, cancellation)?;
        let prediction = prediction.as_f32().map_err(ForwardError::from)?;
        let scale = request.guidance.scale_at(timestep, steps);
        let guided = guide(&prediction, request.guidance, scale);
        let mut noise = |count: usize| draw(&mut generator, request.storage, count);
        scheduler.step(index, &guided, &mut latents, &mut noise);
        request.storage.round(&mut latents);
        if !latents.iter().all(|value| value.is_finite()) {
            return Err(SamplingError::Diverged { step: index + 1, steps: num_inference_steps });
        }
        let elapsed = step_start.elapsed();
        on_step(StepCompleted { step: index + 1, num_inference_steps, timestep, elapsed });
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
    let conditions = model.conditions(request.shape, text)?.of_variant(request.variant.clone());
    let (input, output) = (model.config().in_channels, model.config().out_channels);
    if input != output {
        return Err(SamplingError::NeedsImage { input, output });
    }
    Ok(conditions)
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

/// Noise, or what the caller gave; `init_noise_sigma` is 1 for both schedulers.
fn initial_latents(
    request: &SamplingRequest,
    generator: &mut Generator,
) -> Result<Vec<f32>, SamplingError> {
    let Some(given) = &request.initial_latents else {
        return Ok(draw(generator, request.storage, request.shape.iter().product()));
    };
    if given.dtype() != DType::F32 || given.shape() != request.shape {
        return Err(SamplingError::InitialLatents {
            expected: request.shape,
            dtype: given.dtype(),
            found: given.shape().to_vec(),
        });
    }
    let mut values = given.as_f32().map_err(ForwardError::from)?.into_owned();
    request.storage.round(&mut values);
    if let Some(at) = values.iter().position(|value| !value.is_finite()) {
        return Err(SamplingError::NotFinite { at, value: values[at] });
    }
    Ok(values)
}

/// `count` values of `torch.randn` in the dtype of `storage`.
fn draw(generator: &mut Generator, storage: Storage, count: usize) -> Vec<f32> {
    match storage {
        Storage::Fp32 => generator.normal_f32(count),
        Storage::Fp16 => generator.normal_f16(count).into_iter().map(f32::from).collect(),
        Storage::Bf16 => generator.normal_bf16(count).into_iter().map(f32::from).collect(),
    }
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
