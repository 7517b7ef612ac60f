use cogwheel_api::denoiser::v1::Scheduler;
use cogwheel_api::generation::v1::{GenerateVideoRequest, OutputFormat};
use cogwheel_api::tensor_message;
use cogwheel_tensor::Tensor;

use super::brought::Brought;
use crate::args::{GenerateArgs, Switch};
use crate::latents;
use crate::output::Kind;

/// What the options ask the server for. What was not given stays open: defaults are the model's.
pub(super) fn request(
    args: &GenerateArgs,
    kind: Kind,
    initial_latents: Option<&Tensor>,
    brought: &Brought,
) -> GenerateVideoRequest {
    let scheduler = args.scheduler.map_or(Scheduler::Unspecified, Scheduler::from);
    let output_format = match kind {
        Kind::Mp4 => OutputFormat::Mp4,
        Kind::Gif => OutputFormat::Gif,
        Kind::Pictures => OutputFormat::Png,
        Kind::Tensors => OutputFormat::Frames,
    };
    GenerateVideoRequest {
        prompt: args.prompt.clone().unwrap_or_default(),
        negative_prompt: args.negative_prompt.clone().unwrap_or_default(),
        width: args.width,
        height: args.height,
        num_frames: args.num_frames,
        fps: args.fps,
        num_inference_steps: args.num_inference_steps,
        guidance_scale: args.guidance_scale,
        scheduler: scheduler.into(),
        dynamic_cfg: args.dynamic_cfg.map(|switch| switch == Switch::On),
        seed: args.seed,
        num_videos: args.num_videos,
        output_format: output_format.into(),
        initial_latents: initial_latents.map(|tensor| tensor_message(latents::NAME, tensor)),
        return_latents: args.output_latents.is_some(),
        adapters: Vec::new(),
        image: brought.image.clone(),
        video: brought.video.clone(),
        strength: args.strength,
        enhance_prompt: args.enhance_prompt,
        enhanced_prompt: String::new(),
    }
}
