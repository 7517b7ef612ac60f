//! What a video is told of itself: everything that is needed to make it again.

use cogwheel_api::denoiser::v1::{Sampling, Scheduler};
use cogwheel_weights::Digest;
use serde::{Deserialize, Serialize};

use crate::model::Model;
use crate::plan::{ChosenAdapter, Plan};

/// What a video was made of, as JSON beside it and inside an MP4 file. The same request to the same model, computed in the
/// same precision and decoded in the same tiles or none, makes the same video, so that nothing here depends on when or how fast it was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VideoMetadata {
    /// Version of the program that made it.
    pub cogwheel: String,
    /// Name of the checkpoint's folder.
    pub model: String,
    /// What the video shows, in the user's words.
    pub prompt: String,
    /// The same in a language model's, which were used; absent where the user's were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enhanced_prompt: Option<String>,
    /// What it does not show; absent where guidance was off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub negative_prompt: Option<String>,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Frames.
    pub num_frames: u32,
    /// Frames per second.
    pub fps: u32,
    /// Steps of the sampling loop.
    pub num_inference_steps: u32,
    /// Classifier-free guidance.
    pub guidance_scale: f64,
    /// `ddim` or `dpm`.
    pub scheduler: String,
    /// Whether guidance varied with the timestep.
    pub dynamic_cfg: bool,
    /// Of this video.
    pub seed: u64,
    /// In the order of merging.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub adapters: Vec<AdapterMetadata>,
    /// The variant that the adapters make, 64 hexadecimal digits; absent for the model as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Whether the video shows the one without the adapters on its left: a client's doing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub compare: bool,
    /// How far it departs from the video, if it is made of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strength: Option<f64>,
    /// Of what was brought beside the prompts.
    #[serde(flatten)]
    pub digests: Digests,
}

/// blake3 of what a request brought beside its prompts, each where it did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Digests {
    /// Of the values that were used instead of drawn noise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial_latents: Option<String>,
    /// Of the image's file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Of the video's file; of pictures that are one, of the digests of those that were used, one after another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub video: Option<String>,
}

/// An adapter that a video was made with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdapterMetadata {
    /// What it was called.
    pub name: String,
    /// blake3 of its file or files, 64 hexadecimal digits.
    pub digest: String,
    /// What its effect was multiplied with.
    pub scale: f32,
    /// Stated in place of what the file says of its alpha.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alpha: Option<f64>,
}

impl Digests {
    /// Of the pictures that are used as a video.
    pub fn of_pictures(files: &[impl AsRef<[u8]>]) -> String {
        let digests = files.iter().map(|file| Digest::of(file.as_ref()).to_string());
        Digest::of(digests.collect::<String>().as_bytes()).to_string()
    }
}

impl VideoMetadata {
    /// Of video `index` of a plan, made by a variant as the denoiser names it, from what has these digests.
    pub(crate) fn of(
        plan: &Plan,
        model: &Model,
        index: u32,
        variant: &str,
        digests: &Digests,
    ) -> Self {
        let Sampling { num_inference_steps, guidance_scale, scheduler, dynamic_cfg, seed } =
            plan.sampling_of(index);
        let scheduler = match Scheduler::try_from(scheduler) {
            Ok(Scheduler::Dpm) => "dpm",
            _ => "ddim",
        };
        Self {
            cogwheel: env!("CARGO_PKG_VERSION").to_owned(),
            model: model.name(),
            prompt: plan.prompt.clone(),
            enhanced_prompt: plan.enhanced_prompt.clone(),
            negative_prompt: plan.negative_prompt.clone(),
            width: plan.size.width,
            height: plan.size.height,
            num_frames: plan.size.num_frames,
            fps: plan.fps,
            num_inference_steps,
            guidance_scale,
            scheduler: scheduler.to_owned(),
            dynamic_cfg,
            seed,
            adapters: plan.adapters.iter().map(ChosenAdapter::metadata).collect(),
            variant: Some(variant.to_owned()).filter(|variant| !variant.is_empty()),
            compare: false,
            strength: plan.given.as_ref().and_then(|given| given.strength),
            digests: digests.clone(),
        }
    }

    /// As it is written, in lines.
    pub fn json(&self) -> String {
        // Strings and finite numbers: nothing that JSON cannot hold.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}
