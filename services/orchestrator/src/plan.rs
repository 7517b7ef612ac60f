mod adapters;
mod input;

use std::sync::Arc;

use cogwheel_api::denoiser::v1::{Sampling, Scheduler, VideoSize};
use cogwheel_api::generation::v1::{Accepted, GenerateVideoRequest, OutputFormat};
use cogwheel_api::tensor::v1;
use cogwheel_diffusion::geometry::LatentGeometry;
use cogwheel_models::checkpoint::{Checkpoint, Workload};
use cogwheel_service::{Failure, Invalid, MemoryNeed, machine_memory};
use cogwheel_tensor::{DType, Tensor};
use cogwheel_video::FrameSize;

use crate::model::Model;
use crate::output;
use crate::registry::{Adapters, RegisteredAdapter};
use crate::settings::{RequestLimits, Residency};
pub(crate) use adapters::{ChosenAdapter, MAX_CHOICES, choose, expected};
pub(crate) use input::Given;

/// Passes a request that an orchestrator of this checkpoint with these adapters would accept,
/// without any stage.
///
/// # Errors
/// [`Failure::Invalid`] with every violation.
pub fn check(
    request: GenerateVideoRequest,
    checkpoint: &Checkpoint,
    adapters: &[Arc<RegisteredAdapter>],
    limits: &RequestLimits,
    residency: Residency,
) -> Result<(), Failure> {
    let named = |adapter: &Arc<RegisteredAdapter>| (adapter.name().to_owned(), Arc::clone(adapter));
    let adapters: Adapters = adapters.iter().map(named).collect();
    let model = Model::new(checkpoint.clone(), limits.precision);
    Plan::new(request, &model, &adapters, limits, residency).map(drop)
}

/// A request that can be computed, every default filled in.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) prompt: String,
    /// Used in its place.
    pub(crate) enhanced_prompt: Option<String>,
    /// Whether it is to be enhanced.
    pub(crate) enhance_prompt: bool,
    /// Of any prompt.
    pub(crate) max_prompt_chars: usize,
    /// Absent when guidance is off.
    pub(crate) negative_prompt: Option<String>,
    pub(crate) size: VideoSize,
    pub(crate) latents: LatentGeometry,
    /// With the seed of the first video.
    pub(crate) sampling: Sampling,
    pub(crate) fps: u32,
    pub(crate) num_videos: u32,
    pub(crate) format: OutputFormat,
    pub(crate) initial_latents: Option<Tensor>,
    pub(crate) return_latents: bool,
    /// What the video is made from beside the prompt.
    pub(crate) given: Option<Given>,
    /// In the order of the request.
    pub(crate) adapters: Vec<ChosenAdapter>,
    /// `[tokens, width]` of one prompt's embedding.
    pub(crate) embedding_shape: [usize; 2],
    /// What the user should know before the work starts.
    pub(crate) notices: Vec<String>,
}

impl Plan {
    /// Checks a request against the model and the limits, all at once, before any work. Reads the image, or the video's
    /// first frame: work for a thread that may block.
    ///
    /// # Errors
    /// [`Failure::Invalid`] with every violation.
    pub(crate) fn new(
        mut request: GenerateVideoRequest,
        model: &Model,
        adapters: &Adapters,
        limits: &RequestLimits,
        residency: Residency,
    ) -> Result<Self, Failure> {
        let mut invalid = Invalid::default();
        let mut notices = Vec::new();
        for (field, text) in [
            ("prompt", &request.prompt),
            ("negative_prompt", &request.negative_prompt),
            ("enhanced_prompt", &request.enhanced_prompt),
        ] {
            let (found, limit) = (text.chars().count(), limits.work.max_prompt_chars);
            if found > limit {
                let message = format!("expected at most {limit} characters, found {found}");
                invalid.add(field, message);
            }
        }
        let enhanced_prompt =
            Some(request.enhanced_prompt.clone()).filter(|text| !text.trim().is_empty());
        if request.enhance_prompt && !limits.enhances_prompts {
            let expected =
                "expected a server that enhances prompts (--prompt-enhancer URL), found none";
            invalid.add("enhance_prompt", expected);
        }
        let sampling = sampling(&request, model, limits, &mut invalid);
        let guided = sampling.guidance_scale > 1.0;
        if !guided && !request.negative_prompt.is_empty() {
            notices.push("guidance is off, so the negative prompt has no effect".to_owned());
        }

        let given = input::given(&mut request, model, limits, &mut invalid);
        let defaults = model.defaults();
        let num_frames = given
            .as_ref()
            .map_or(defaults.num_frames, |given| given.num_frames(defaults.num_frames));
        let num_frames = request.num_frames.map_or(num_frames, |n| n as usize);
        let width = request.width.map_or(defaults.width, |n| n as usize);
        let height = request.height.map_or(defaults.height, |n| n as usize);
        let latents = match model.geometry(num_frames, width, height) {
            Ok(latents) => Some(latents),
            Err(errors) => {
                for (field, error) in errors {
                    invalid.add(field, error);
                }
                None
            }
        };
        if latents.is_some() {
            let workload = Workload {
                batch: 1 + usize::from(guided),
                num_frames,
                height,
                width,
                encoded_frames: model.encoded_frames(num_frames, given.is_some()),
                tiled: false,
            };
            if check_extent(&workload, limits, &mut invalid) {
                check_memory(model, &workload, limits, residency, &mut invalid);
            }
            notices.extend(model.beyond(num_frames, width, height));
            if let Some(given) = &given {
                let size = [num_frames, width, height];
                given.check(size, sampling.num_inference_steps, &mut notices, &mut invalid);
            }
        }

        let fps = request.fps.unwrap_or_else(|| u32::try_from(defaults.fps).unwrap_or(8));
        let format = format(&request, &mut invalid);
        let max_fps = output::max_fps(format);
        if !(1..=max_fps).contains(&fps) {
            invalid.add("fps", format!("expected 1 to {max_fps}, found {fps}"));
        }
        let frame = FrameSize { width: width as u32, height: height as u32 };
        if latents.is_some()
            && let Err(error) = output::check_size(format, frame)
        {
            invalid.add("output_format", error);
        }
        let num_videos = request.num_videos.unwrap_or(1);
        if !(1..=limits.work.max_videos).contains(&num_videos) {
            let limit = limits.work.max_videos;
            invalid.add("num_videos", format!("expected 1 to {limit}, found {num_videos}"));
        }
        let initial_latents = request
            .initial_latents
            .and_then(|message| initial_latents(message, latents.as_ref(), &mut invalid));
        let adapters = choose(&request.adapters, adapters, &mut invalid);

        let embedding_shape = model.embedding_shape();
        let Some(latents) = latents else { return invalid.or(()).and(Err(never_valid())) };
        invalid.or(Self {
            prompt: request.prompt,
            enhance_prompt: request.enhance_prompt && enhanced_prompt.is_none(),
            enhanced_prompt,
            max_prompt_chars: limits.work.max_prompt_chars,
            negative_prompt: guided.then_some(request.negative_prompt),
            size: VideoSize {
                num_frames: num_frames as u32,
                width: width as u32,
                height: height as u32,
            },
            latents,
            sampling,
            fps,
            num_videos,
            format,
            initial_latents,
            return_latents: request.return_latents,
            given,
            adapters,
            embedding_shape,
            notices,
        })
    }

    /// What the video is to show.
    pub(crate) fn shown_prompt(&self) -> &str {
        self.enhanced_prompt.as_deref().unwrap_or(&self.prompt)
    }

    /// How the request was understood.
    pub(crate) fn accepted(&self, generation_id: String) -> Accepted {
        Accepted {
            generation_id,
            size: Some(self.size),
            sampling: Some(self.sampling),
            fps: self.fps,
            num_videos: self.num_videos,
            adapters: self.adapters.iter().map(ChosenAdapter::accepted).collect(),
            strength: self.given.as_ref().and_then(|given| given.strength),
        }
    }

    /// How video `index` is sampled: seeds count up.
    pub(crate) fn sampling_of(&self, index: u32) -> Sampling {
        let seed = self.sampling.seed.wrapping_add(index.into());
        Sampling { seed, ..self.sampling }
    }

    /// Pixels of a frame.
    pub(crate) fn frame(&self) -> FrameSize {
        FrameSize { width: self.size.width, height: self.size.height }
    }
}

/// A size without latents always adds a violation, so this is never told.
fn never_valid() -> Failure {
    Failure::Internal("a size was refused without a reason".to_owned())
}

fn sampling(
    request: &GenerateVideoRequest,
    model: &Model,
    limits: &RequestLimits,
    invalid: &mut Invalid,
) -> Sampling {
    let defaults = model.defaults();
    let trained = u32::try_from(model.train_timesteps()).unwrap_or(u32::MAX);
    let limit = limits.work.max_steps.min(trained);
    let default_steps = u32::try_from(defaults.num_inference_steps).unwrap_or(1);
    let num_inference_steps = request.num_inference_steps.unwrap_or(default_steps);
    if !(1..=limit).contains(&num_inference_steps) {
        let message = format!("expected 1 to {limit}, found {num_inference_steps}");
        invalid.add("num_inference_steps", message);
    }
    let guidance_scale = request.guidance_scale.unwrap_or(defaults.guidance_scale);
    if !guidance_scale.is_finite() {
        let message = format!("expected a finite number, found {guidance_scale}");
        invalid.add("guidance_scale", message);
    }
    let scheduler = match Scheduler::try_from(request.scheduler) {
        Ok(Scheduler::Unspecified) => model.default_scheduler(),
        Ok(scheduler) => scheduler,
        Err(_) => {
            let found = request.scheduler;
            invalid.add("scheduler", format!("expected ddim or dpm, found number {found}"));
            Scheduler::Ddim
        }
    };
    Sampling {
        num_inference_steps,
        guidance_scale,
        scheduler: scheduler.into(),
        dynamic_cfg: request.dynamic_cfg.unwrap_or(scheduler == Scheduler::Dpm),
        // A seed that is drawn fits everybody's generators.
        seed: request.seed.unwrap_or_else(|| fastrand::u32(..).into()),
    }
}

fn format(request: &GenerateVideoRequest, invalid: &mut Invalid) -> OutputFormat {
    match OutputFormat::try_from(request.output_format) {
        Ok(OutputFormat::Unspecified) => OutputFormat::Mp4,
        Ok(format) => format,
        Err(_) => {
            let found = request.output_format;
            invalid.add("output_format", format!("expected a known format, found number {found}"));
            OutputFormat::Mp4
        }
    }
}

/// Bounds that hold however much memory there is. Whether they are kept.
fn check_extent(workload: &Workload, limits: &RequestLimits, invalid: &mut Invalid) -> bool {
    let violated = invalid.0.len();
    let Workload { num_frames, height, width, .. } = *workload;
    if num_frames as u64 > u64::from(limits.work.max_frames) {
        let max = limits.work.max_frames;
        invalid.add("num_frames", format!("expected at most {max}, found {num_frames}"));
    }
    if (width as u64).saturating_mul(height as u64) > limits.work.max_pixels {
        let (max, larger) =
            (limits.work.max_pixels, if width > height { "width" } else { "height" });
        invalid.add(larger, format!("expected at most {max} pixels, found {width}x{height}"));
    }
    invalid.0.len() == violated
}

fn check_memory(
    model: &Model,
    workload: &Workload,
    limits: &RequestLimits,
    residency: Residency,
    invalid: &mut Invalid,
) {
    let limit = limits.memory_limit.map(|limit| limit.bytes).or_else(machine_memory);
    let Some(limit) = limit else { return };
    let need = model.memory(workload, residency, limits.vae_tiling, limit);
    if need > limit {
        let Workload { width, height, num_frames, .. } = workload;
        let what = format!("{width}x{height} with {num_frames} frames");
        invalid.add_memory(largest(model, workload), &what, MemoryNeed { need, limit });
    }
}

/// The field to shrink: the one that is furthest beyond its default, by its ratio.
fn largest(model: &Model, workload: &Workload) -> &'static str {
    let defaults = model.defaults();
    let ratio = |found: usize, default: usize| found as f64 / default.max(1) as f64;
    let width = ("width", ratio(workload.width, defaults.width));
    let height = ("height", ratio(workload.height, defaults.height));
    let num_frames = ("num_frames", ratio(workload.num_frames, defaults.num_frames));
    [width, height]
        .into_iter()
        .fold(num_frames, |most, next| if next.1 > most.1 { next } else { most })
        .0
}

fn initial_latents(
    message: v1::Tensor,
    latents: Option<&LatentGeometry>,
    invalid: &mut Invalid,
) -> Option<Tensor> {
    const FIELD: &str = "initial_latents";
    let tensor = match message.into_tensor() {
        Ok((_, tensor)) => tensor,
        Err(error) => {
            invalid.add(FIELD, error);
            return None;
        }
    };
    if tensor.dtype() != DType::F32 {
        invalid.add(FIELD, format!("expected F32, found {}", tensor.dtype()));
        return None;
    }
    if let Some(expected) = latents.map(LatentGeometry::shape)
        && tensor.shape() != expected
    {
        let found = tensor.shape();
        let what = "[frames, channels, height, width]";
        invalid.add(FIELD, format!("expected {what} = {expected:?}, found {found:?}"));
    }
    let values = tensor.as_f32().ok()?;
    if let Some(place) = values.iter().position(|value| !value.is_finite()) {
        let found = values[place];
        invalid.add(FIELD, format!("expected finite numbers, found {found} at element {place}"));
    }
    drop(values);
    Some(tensor)
}

#[cfg(test)]
mod tests;
