use cogwheel_diffusion::scheduler::SchedulerKind;

use super::{Checkpoint, Positions, Version};

/// What a request that leaves things open gets: sizes from the configs, the rest as CogVideo's own reference script
/// recommends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Defaults {
    /// Pixels.
    pub width: usize,
    /// Pixels.
    pub height: usize,
    /// Frames of video.
    pub num_frames: usize,
    /// Frames a second in the file that is written: 16 for 1.5, 8 for 1.0.
    pub fps: usize,
    /// Steps of denoising.
    pub num_inference_steps: usize,
    /// How far a prediction is pushed from the negative prompt's.
    pub guidance_scale: f64,
    /// DPM for rotary positions, DDIM for sin-cos ones, whatever the folder's scheduler config names.
    pub scheduler: SchedulerKind,
    /// Whether guidance varies with the step; goes with DPM.
    pub use_dynamic_cfg: bool,
    /// Tokens that a prompt is padded or cut to.
    pub max_sequence_length: usize,
}

impl Defaults {
    pub(super) fn of(checkpoint: &Checkpoint) -> Self {
        let transformer = &checkpoint.transformer;
        let ratio = checkpoint.vae.spatial_compression_ratio();
        let (scheduler, use_dynamic_cfg) = match checkpoint.family.positions {
            Positions::SinCos => (SchedulerKind::Ddim, false),
            Positions::Rope | Positions::Learned => (SchedulerKind::Dpm, true),
        };
        Self {
            width: transformer.sample_width * ratio,
            height: transformer.sample_height * ratio,
            num_frames: transformer.sample_frames,
            fps: if checkpoint.family.version == Version::V1_5 { 16 } else { 8 },
            num_inference_steps: 50,
            guidance_scale: 6.0,
            scheduler,
            use_dynamic_cfg,
            max_sequence_length: transformer.max_text_seq_length,
        }
    }
}
