use std::sync::Arc;

use cogwheel_api::TensorInbox;
use cogwheel_api::denoiser::v1::{
    AdapterScale, DenoiseHeader, DenoiseRequest, Sampling, Scheduler, VideoSize,
    denoise_request::Part,
};
use cogwheel_diffusion::geometry::LatentGeometry;
use cogwheel_diffusion::guidance::Guidance;
use cogwheel_diffusion::scheduler::{SchedulerKind, steps_taken};
use cogwheel_lora::Recipe;
use cogwheel_models::checkpoint::{Checkpoint, Conditioning, Workload};
use cogwheel_service::{Failure, Invalid, receive};
use cogwheel_tensor::{DType, Tensor};
use tonic::Streaming;

use super::Denoiser;
use super::put_adapter::is_digest;
use crate::adapters::Adapters;
use crate::sampling::{Condition, SamplingRequest, Start, StartVideo};

/// Adapters of one variant.
const MAX_ADAPTERS: usize = 16;

const PROMPT: &str = "prompt_embeds";
const NEGATIVE_PROMPT: &str = "negative_prompt_embeds";
const INITIAL_LATENTS: &str = "initial_latents";
const IMAGE_LATENTS: &str = "image_latents";
const CONTROL_LATENTS: &str = "control_latents";
const VIDEO_LATENTS: &str = "video_latents";

/// What a caller sends up: a header, checked at once, and tensors of no more than it calls for.
pub(super) struct Upload {
    /// What makes the variant, if one is asked for.
    pub(super) recipe: Option<Recipe>,
    /// Whether that is to stay in memory.
    pub(super) pinned: bool,
    /// Bytes that a step takes at its peak, beside the model and the variant.
    pub(super) activations: u64,
    sampling: Sampling,
    scheduler: SchedulerKind,
    latents: LatentGeometry,
    prompt: Tensor,
    negative_prompt: Option<Tensor>,
    start: Start,
    condition: Option<Condition>,
}

impl Upload {
    /// Receives everything, up to the caller's half-close.
    ///
    /// # Errors
    /// [`Failure::Invalid`] for what the model cannot do, and what [`receive`] gives.
    pub(super) async fn receive(
        denoiser: &Denoiser,
        messages: &mut Streaming<DenoiseRequest>,
    ) -> Result<Self, Failure> {
        let Denoiser { checkpoint, adapters, stage, footprint, .. } = denoiser;
        let Some(Part::Header(header)) = receive(messages).await?.and_then(|first| first.part)
        else {
            return Err(Failure::invalid("header", "expected the header first"));
        };
        let (sampling, scheduler, latents) = check(checkpoint, &header)?;
        let recipe = recipe(adapters, &header.adapters)?;
        let size = header.size.unwrap_or_default();
        // Before a tensor is taken: the size bounds what may follow.
        let activations = activations(checkpoint, &sampling, size);
        let need = activations.saturating_add(footprint.weights());
        stage.check_memory("size", need)?;
        let variant = recipe.as_ref().map_or(0, |recipe| footprint.variant(checkpoint, recipe));
        let need = need.saturating_add(variant);
        stage.check_memory("adapters", need)?;
        let mut inbox = TensorInbox::new(
            &[
                PROMPT,
                NEGATIVE_PROMPT,
                INITIAL_LATENTS,
                IMAGE_LATENTS,
                CONTROL_LATENTS,
                VIDEO_LATENTS,
            ],
            byte_limit(checkpoint, &latents),
        );
        while let Some(message) = receive(messages).await? {
            match message.part {
                Some(Part::Tensor(part)) => {
                    inbox.push(part).map_err(|error| Failure::invalid("tensor", error))?;
                }
                Some(Part::Header(_)) => {
                    return Err(Failure::invalid("header", "expected one header, found two"));
                }
                None => return Err(Failure::invalid("part", "expected a tensor, found nothing")),
            }
        }
        inbox.finish().map_err(|error| Failure::invalid("tensor", error))?;
        let Some(prompt) = inbox.take(PROMPT) else {
            return Err(Failure::invalid(PROMPT, "expected a tensor, found none"));
        };
        let negative_prompt = inbox.take(NEGATIVE_PROMPT);
        let noise = inbox.take(INITIAL_LATENTS);
        let embedding = embedding_shape(checkpoint);
        let mut invalid = Invalid::default();
        let values_drawn = values_drawn(&header, &latents, &mut invalid);
        check_tensor(&mut invalid, PROMPT, Some(&prompt), &embedding);
        check_tensor(&mut invalid, NEGATIVE_PROMPT, negative_prompt.as_ref(), &embedding);
        check_tensor(&mut invalid, INITIAL_LATENTS, noise.as_ref(), &latents.shape());
        let condition = condition(checkpoint, &latents, &mut inbox, &mut invalid);
        let video = video(checkpoint, &header, &latents, &mut inbox, &mut invalid);
        if negative_prompt.is_none() && is_guided(&sampling) {
            invalid.add(NEGATIVE_PROMPT, "expected a tensor, since guidance is on, found none");
        }
        invalid.or(())?;
        Ok(Self {
            recipe,
            pinned: header.pinned,
            activations,
            sampling,
            scheduler,
            latents,
            prompt,
            negative_prompt,
            start: Start { noise, video, values_drawn },
            condition,
        })
    }

    /// The loop to run.
    pub(super) fn into_request(self, checkpoint: &Checkpoint) -> SamplingRequest {
        let Sampling { num_inference_steps, guidance_scale, dynamic_cfg, seed, .. } = self.sampling;
        SamplingRequest {
            shape: self.latents.shape(),
            prompt_embeds: self.prompt,
            negative_prompt_embeds: self.negative_prompt,
            scheduler: self.scheduler,
            scheduler_config: checkpoint.scheduler.config.clone(),
            num_inference_steps: num_inference_steps as usize,
            guidance: Guidance::new(guidance_scale, dynamic_cfg),
            seed,
            start: self.start,
            condition: self.condition,
            storage: checkpoint.storage(),
            variant: None,
        }
    }
}

fn check(
    checkpoint: &Checkpoint,
    header: &DenoiseHeader,
) -> Result<(Sampling, SchedulerKind, LatentGeometry), Failure> {
    let mut invalid = Invalid::default();
    let sampling = header.sampling.unwrap_or_default();
    let limit = checkpoint.scheduler.config.num_train_timesteps;
    let steps = sampling.num_inference_steps as usize;
    if !(1..=limit).contains(&steps) {
        invalid.add("num_inference_steps", format!("expected 1 to {limit}, found {steps}"));
    }
    if !sampling.guidance_scale.is_finite() {
        let found = sampling.guidance_scale;
        invalid.add("guidance_scale", format!("expected a finite number, found {found}"));
    }
    let scheduler = match Scheduler::try_from(sampling.scheduler) {
        Ok(Scheduler::Ddim) => Some(SchedulerKind::Ddim),
        Ok(Scheduler::Dpm) => Some(SchedulerKind::Dpm),
        Ok(Scheduler::Unspecified) => Some(checkpoint.defaults().scheduler),
        Err(_) => {
            let found = sampling.scheduler;
            invalid.add("scheduler", format!("expected ddim or dpm, found number {found}"));
            None
        }
    };
    let size = header.size.unwrap_or_default();
    let [frames, width, height] = [size.num_frames, size.width, size.height].map(|n| n as usize);
    let latents = LatentGeometry::new(&checkpoint.geometry(), frames, width, height);
    if let Err(errors) = &latents {
        for error in errors {
            invalid.add(error.field().unwrap_or("size"), error);
        }
    }
    match (scheduler, latents) {
        (Some(scheduler), Ok(latents)) => invalid.or((sampling, scheduler, latents)),
        _ => Err(Failure::Invalid(invalid)),
    }
}

/// What the model wants on further channels.
fn condition(
    checkpoint: &Checkpoint,
    latents: &LatentGeometry,
    inbox: &mut TensorInbox,
    invalid: &mut Invalid,
) -> Option<Condition> {
    let [_, channels, height, width] = latents.shape();
    let [image, control] = [IMAGE_LATENTS, CONTROL_LATENTS].map(|name| inbox.take(name));
    check_tensor(invalid, IMAGE_LATENTS, image.as_ref(), &[1, channels, height, width]);
    check_tensor(invalid, CONTROL_LATENTS, control.as_ref(), &unpadded(latents));
    let conditioning = checkpoint.family().conditioning;
    for (name, wanted, found) in [
        (IMAGE_LATENTS, conditioning == Conditioning::Image, image.is_some()),
        (CONTROL_LATENTS, conditioning == Conditioning::Control, control.is_some()),
    ] {
        if wanted != found {
            let (expected, found) = if wanted { ("a", "none") } else { ("no", "one") };
            invalid
                .add(name, format!("expected {expected} tensor in {conditioning}, found {found}"));
        }
    }
    image.map(Condition::Image).or(control.map(Condition::Control))
}

/// The video to depart from.
fn video(
    checkpoint: &Checkpoint,
    header: &DenoiseHeader,
    latents: &LatentGeometry,
    inbox: &mut TensorInbox,
    invalid: &mut Invalid,
) -> Option<StartVideo> {
    let video = inbox.take(VIDEO_LATENTS);
    check_tensor(invalid, VIDEO_LATENTS, video.as_ref(), &unpadded(latents));
    let conditioning = checkpoint.family().conditioning;
    if video.is_some() && conditioning != Conditioning::Text {
        let message = format!("expected no tensor in {conditioning}, found one");
        invalid.add(VIDEO_LATENTS, message);
    }
    match (video, header.strength) {
        (None, None) => None,
        (Some(latents), Some(strength)) => {
            let steps = header.sampling.unwrap_or_default().num_inference_steps;
            if !(strength <= 1.0 && steps_taken(steps as usize, strength) > 0) {
                let message = format!(
                    "expected above 0, at most 1 and at least one of {steps} steps, found {strength}"
                );
                invalid.add("strength", message);
            }
            Some(StartVideo { latents, strength })
        }
        (video, _) => {
            let found = if video.is_some() { "a video alone" } else { "a strength alone" };
            invalid.add("strength", format!("expected both video and strength, found {found}"));
            None
        }
    }
}

/// How much was drawn before: at most the latents of the whole video, so that no work comes of a lie.
fn values_drawn(header: &DenoiseHeader, latents: &LatentGeometry, invalid: &mut Invalid) -> usize {
    let limit = latents.element_count();
    match usize::try_from(header.values_drawn).ok().filter(|&drawn| drawn <= limit) {
        Some(drawn) => drawn,
        None => {
            let found = header.values_drawn;
            invalid.add("values_drawn", format!("expected at most {limit}, found {found}"));
            0
        }
    }
}

/// Shape of a video's latents as the vae encodes it.
fn unpadded(latents: &LatentGeometry) -> [usize; 4] {
    let [_, channels, height, width] = latents.shape();
    [latents.decoded_frames(), channels, height, width]
}

/// The variant that these make; none where they leave the model as it is.
pub(super) fn recipe(
    adapters: &Adapters,
    asked: &[AdapterScale],
) -> Result<Option<Recipe>, Failure> {
    if asked.len() > MAX_ADAPTERS {
        let message = format!("expected at most {MAX_ADAPTERS}, found {}", asked.len());
        return Err(Failure::invalid("adapters", message));
    }
    let mut found = Vec::with_capacity(asked.len());
    for AdapterScale { digest, scale, alpha } in asked {
        if !is_digest(digest) {
            let message = "expected 64 lower-case hexadecimal digits";
            return Err(Failure::invalid("adapters.digest", message));
        }
        let Some(adapter) = adapters.get(digest) else {
            return Err(Failure::not_found("adapter", digest.clone()));
        };
        let stated = alpha.map(|alpha| (*adapter).clone().with_alpha(Some(alpha)).map(Arc::new));
        let adapter = stated
            .transpose()
            .map_err(|error| Failure::invalid("adapters.alpha", error))?
            .unwrap_or(adapter);
        found.push((adapter, *scale));
    }
    let recipe = Recipe::new(found).map_err(|error| Failure::invalid("adapters.scale", error))?;
    Ok((!recipe.is_base()).then_some(recipe))
}

/// Bytes that a step needs at its peak beside the model.
fn activations(checkpoint: &Checkpoint, sampling: &Sampling, size: VideoSize) -> u64 {
    let workload = Workload {
        batch: 1 + usize::from(is_guided(sampling)),
        num_frames: size.num_frames as usize,
        height: size.height as usize,
        width: size.width as usize,
        encoded_frames: 0,
        tiled: false,
    };
    checkpoint.memory_estimate(DType::F32, DType::F32, &workload).transformer.activations
}

/// Notes what a tensor that came is not.
fn check_tensor(invalid: &mut Invalid, name: &str, tensor: Option<&Tensor>, shape: &[usize]) {
    let Some(tensor) = tensor else { return };
    match tensor.as_f32() {
        Ok(values) if tensor.shape() == shape => {
            if let Some(at) = values.iter().position(|value| !value.is_finite()) {
                let found = values[at];
                invalid
                    .add(name, format!("expected finite numbers, found {found} at element {at}"));
            }
        }
        _ => {
            let (dtype, found) = (tensor.dtype(), tensor.shape());
            invalid.add(name, format!("expected F32 {shape:?}, found {dtype} {found:?}"));
        }
    }
}

fn is_guided(sampling: &Sampling) -> bool {
    Guidance::new(sampling.guidance_scale, false) != Guidance::Off
}

fn embedding_shape(checkpoint: &Checkpoint) -> [usize; 3] {
    let config = &checkpoint.transformer;
    [1, config.max_text_seq_length, config.text_embed_dim]
}

/// Both embeddings, and latents twice: where to start, and what conditions it; in fp32.
fn byte_limit(checkpoint: &Checkpoint, latents: &LatentGeometry) -> usize {
    let embedding = embedding_shape(checkpoint).iter().fold(1_usize, |n, &m| n.saturating_mul(m));
    let latents = latents.element_count();
    let values = embedding.saturating_add(latents).saturating_mul(2);
    values.saturating_mul(size_of::<f32>())
}
