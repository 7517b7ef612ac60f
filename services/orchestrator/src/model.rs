use cogwheel_api::denoiser::v1::{Sampling, Scheduler, VideoSize};
use cogwheel_api::generation::v1::{GetModelResponse, ModelInput};
use cogwheel_diffusion::geometry::{GeometryConfig, GeometryError, LatentGeometry};
use cogwheel_diffusion::scheduler::SchedulerKind;
use cogwheel_models::checkpoint::{
    Checkpoint, Conditioning, Defaults, Positions, Version, Workload, folder_name,
};
use cogwheel_service::{Precision, Tiling};

use crate::settings::Residency;

/// What the orchestrator knows of the model: its configs and what follows from them.
#[derive(Debug)]
pub(crate) struct Model {
    checkpoint: Checkpoint,
    geometry: GeometryConfig,
    defaults: Defaults,
}

impl Model {
    /// Whose stages compute in that precision.
    pub(crate) fn new(checkpoint: Checkpoint, precision: Precision) -> Self {
        let checkpoint = checkpoint.with_quantized(precision == Precision::Int8);
        let geometry = checkpoint.geometry();
        let defaults = checkpoint.defaults();
        Self { checkpoint, geometry, defaults }
    }

    /// What a request that leaves things open gets.
    pub(crate) fn defaults(&self) -> &Defaults {
        &self.defaults
    }

    /// The model's default scheduler.
    pub(crate) fn default_scheduler(&self) -> Scheduler {
        match self.defaults.scheduler {
            SchedulerKind::Ddim => Scheduler::Ddim,
            SchedulerKind::Dpm => Scheduler::Dpm,
        }
    }

    /// Timesteps the model was trained with; a loop has no more steps.
    pub(crate) fn train_timesteps(&self) -> usize {
        self.checkpoint.scheduler.config.num_train_timesteps
    }

    /// `[tokens, width]` of one prompt's embedding.
    pub(crate) fn embedding_shape(&self) -> [usize; 2] {
        [self.defaults.max_sequence_length, self.checkpoint.transformer.text_embed_dim]
    }

    /// What the transformer sees beside the prompt.
    pub(crate) fn conditioning(&self) -> Conditioning {
        self.checkpoint.family().conditioning
    }

    /// How many frames are read and encoded for a video of so many, beginning from another or not where that is open.
    pub(crate) fn encoded_frames(&self, num_frames: usize, from_video: bool) -> usize {
        self.checkpoint.encoded_frames(num_frames, from_video)
    }

    /// The latents of a video of this size, and that the model has positions for it.
    ///
    /// # Errors
    /// Everything that is wrong with the size, by field.
    pub(crate) fn geometry(
        &self,
        num_frames: usize,
        width: usize,
        height: usize,
    ) -> Result<LatentGeometry, Vec<(&'static str, String)>> {
        let latents = LatentGeometry::new(&self.geometry, num_frames, width, height);
        let latents = latents.map_err(|errors| {
            let field = |error: &GeometryError| error.field().unwrap_or("num_frames");
            errors.iter().map(|error| (field(error), error.to_string())).collect::<Vec<_>>()
        })?;
        let limits = self.checkpoint.side_limits();
        let sides = [("width", width, limits.width), ("height", height, limits.height)];
        let wrong = sides.into_iter().filter(|(_, found, side)| !side.contains(*found));
        let wrong: Vec<_> = wrong
            .map(|(side, found, limit)| (side, format!("expected {limit}, found {found}")))
            .collect();
        if wrong.is_empty() { Ok(latents) } else { Err(wrong) }
    }

    /// What to say of a size that the model was not made for.
    pub(crate) fn beyond(&self, num_frames: usize, width: usize, height: usize) -> Vec<String> {
        let Defaults { width: w, height: h, num_frames: n, .. } = self.defaults;
        let mut notices = Vec::new();
        // CogVideoX 1.5 was made for pictures on end, too.
        let on_end = self.checkpoint.family().version == Version::V1_5 && width < height;
        let (most_width, most_height) = if on_end { (h, w) } else { (w, h) };
        if width > most_width || height > most_height || num_frames > n {
            notices.push(format!(
                "{width}x{height} with {num_frames} frames is beyond the {w}x{h} with {n} frames \
                 that the model was configured for; expect less of it"
            ));
        }
        if self.checkpoint.family().positions == Positions::Learned && num_frames != n {
            notices.push(format!(
                "the model has learned its positions for {n} frames: with {num_frames} sines and cosines take \
                 their place, as in diffusers; expect less of it"
            ));
        }
        notices
    }

    /// Bytes of memory a request needs, where there are so many.
    pub(crate) fn memory(
        &self,
        workload: &Workload,
        residency: Residency,
        tiling: Tiling,
        limit: u64,
    ) -> u64 {
        let (need, _) =
            self.checkpoint.memory_need(workload, |whole| tiling.applies(whole, Some(limit)));
        match residency {
            Residency::Apart | Residency::OneByOne => need.largest(),
            Residency::Together => need.together(),
        }
    }

    /// Name of the checkpoint's folder.
    pub(crate) fn name(&self) -> String {
        folder_name(&self.checkpoint.dir)
    }

    /// The model as the API describes it.
    pub(crate) fn describe(&self) -> GetModelResponse {
        let parameters = self.checkpoint.parameter_count();
        let defaults = &self.defaults;
        GetModelResponse {
            name: self.name(),
            family: self.checkpoint.family().to_string(),
            default_size: Some(VideoSize {
                num_frames: count(defaults.num_frames),
                width: count(defaults.width),
                height: count(defaults.height),
            }),
            default_sampling: Some(Sampling {
                num_inference_steps: count(defaults.num_inference_steps),
                guidance_scale: defaults.guidance_scale,
                scheduler: self.default_scheduler().into(),
                dynamic_cfg: defaults.use_dynamic_cfg,
                seed: 0,
            }),
            default_fps: count(defaults.fps),
            max_text_tokens: count(defaults.max_sequence_length),
            transformer_parameters: parameters.transformer,
            text_encoder_parameters: parameters.text_encoder,
            vae_parameters: parameters.vae,
            input: match self.conditioning() {
                Conditioning::Text => ModelInput::Unspecified,
                Conditioning::Image => ModelInput::Image,
                Conditioning::Control => ModelInput::ControlVideo,
            }
            .into(),
            // The service knows.
            enhances_prompts: false,
        }
    }
}

/// Sizes from checked configs are far below `u32::MAX`.
fn count(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}
