use cogwheel_api::denoiser::v1::{Sampling, Scheduler, VideoSize};
use cogwheel_api::generation::v1::GetModelResponse;
use cogwheel_diffusion::geometry::{GeometryConfig, GeometryError, LatentGeometry};
use cogwheel_diffusion::scheduler::SchedulerKind;
use cogwheel_models::checkpoint::{Checkpoint, Defaults, Workload};
use cogwheel_service::Tiling;

use crate::settings::Residency;

/// What the orchestrator knows of the model: its configs and what follows from them.
#[derive(Debug)]
pub(crate) struct Model {
    checkpoint: Checkpoint,
    geometry: GeometryConfig,
    defaults: Defaults,
}

impl Model {
    pub(crate) fn new(checkpoint: Checkpoint) -> Self {
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

    /// The latents of a video of this size.
    ///
    /// # Errors
    /// Everything that is wrong with the size.
    pub(crate) fn geometry(
        &self,
        num_frames: usize,
        width: usize,
        height: usize,
    ) -> Result<LatentGeometry, Vec<GeometryError>> {
        LatentGeometry::new(&self.geometry, num_frames, width, height)
    }

    /// Bytes of memory a request needs, in fp32, where there are so many.
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
        let dir = self.checkpoint.dir.canonicalize().unwrap_or(self.checkpoint.dir.clone());
        dir.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
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
        }
    }
}

/// Sizes from checked configs are far below `u32::MAX`.
fn count(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}
