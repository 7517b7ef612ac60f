use cogwheel_diffusion::scheduler::SchedulerKind;

use super::{Checkpoint, Conditioning, Family, Positions, Version};

/// What some published configs of CogVideoX 1.5 have for a sample size, in latents: no picture's, but as far as their
/// positions go on either side.
const UPPER_BOUND: (usize, usize) = (300, 300);
/// Width and height, in latents, of the videos that 1.5 was made for.
const V1_5_SAMPLE: (usize, usize) = (170, 96);

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
    /// DPM for rotary positions, DDIM for sin-cos ones and control videos, whatever the folder's scheduler config names.
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
        let Family { version, conditioning, positions } = checkpoint.family;
        let (scheduler, use_dynamic_cfg) = match (positions, conditioning) {
            // diffusers' pipeline for control videos knows no other scheduler.
            (Positions::SinCos, _) | (_, Conditioning::Control) => (SchedulerKind::Ddim, false),
            (Positions::Rope | Positions::Learned, _) => (SchedulerKind::Dpm, true),
        };
        let (width, height) = match (transformer.sample_width, transformer.sample_height) {
            sample if sample == UPPER_BOUND && version == Version::V1_5 => V1_5_SAMPLE,
            sample => sample,
        };
        Self {
            width: width * ratio,
            height: height * ratio,
            num_frames: transformer.sample_frames,
            fps: if version == Version::V1_5 { 16 } else { 8 },
            num_inference_steps: 50,
            guidance_scale: 6.0,
            scheduler,
            use_dynamic_cfg,
            max_sequence_length: transformer.max_text_seq_length,
        }
    }
}
