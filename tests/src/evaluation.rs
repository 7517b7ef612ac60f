//! How well the demo model does what its prompts say: clips made through the public API, read by the [`judge`].
//!
//! [`judge`]: crate::judge

use std::fs;

use cogwheel_api::generation::v1::{AdapterChoice, GenerateVideoRequest, OutputFormat};
use serde::Deserialize;

use crate::judge::Clip;
use crate::{Chain, collect, repository};

/// Steps of a clip. More change little; the default is 50.
const STEPS: u32 = 30;
/// Sides of the demo model's clips.
const SIDE: usize = 64;

/// A prompt and what its clip must show. Made by `tools/demo-model/evaluate.py --prompts`.
#[derive(Clone, Debug, Deserialize)]
pub struct Prompt {
    /// The text.
    pub prompt: String,
    /// One of six.
    pub color: String,
    /// One of three.
    pub shape: String,
    /// One of four.
    pub direction: String,
    /// One of three.
    pub background: String,
    /// Whether this combination was kept out of training.
    pub held_out: bool,
}

/// What was asked of a clip, and what it shows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Score {
    /// Whether it is the colour that was asked for.
    pub color: bool,
    /// The shape.
    pub shape: bool,
    /// The direction of travel.
    pub direction: bool,
    /// The background.
    pub background: bool,
    /// Whether it dances across its travel.
    pub bounce: bool,
    /// Whether it is a glowing outline on black.
    pub neon: bool,
    /// Whether it leaves a trail.
    pub trail: bool,
    /// Pixels of the dance.
    pub oscillation: f32,
}

/// The evaluation's prompts, in its order.
///
/// # Panics
/// If the file is not there or not what it should be.
pub fn prompts() -> Vec<Prompt> {
    let text = fs::read_to_string(repository().join("demo/evaluation.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Frames of a clip of the demo model, `[frames, 64, 64, 3]` in 0..1.
///
/// # Panics
/// If the chain cannot make it.
pub async fn frames(chain: &Chain, prompt: &str, seed: u64, adapters: &[(&str, f32)]) -> Vec<f32> {
    let choice = |(name, scale): &(&str, f32)| AdapterChoice {
        name: (*name).to_owned(),
        scale: Some(*scale),
    };
    let request = GenerateVideoRequest {
        prompt: prompt.to_owned(),
        seed: Some(seed),
        num_inference_steps: Some(STEPS),
        output_format: OutputFormat::Frames.into(),
        adapters: adapters.iter().map(choice).collect(),
        ..Default::default()
    };
    let stream = chain.client().generate_video(request).await.unwrap().into_inner();
    collect(stream).await.unwrap().frames
}

/// Makes a clip and reads it.
///
/// # Panics
/// As [`frames`].
pub async fn score(chain: &Chain, prompt: &Prompt, seed: u64, adapters: &[(&str, f32)]) -> Score {
    let frames = frames(chain, &prompt.prompt, seed, adapters).await;
    let clip = Clip::new(&frames, SIDE, SIDE);
    Score {
        color: clip.color() == prompt.color,
        shape: clip.shape() == prompt.shape,
        direction: clip.direction() == prompt.direction,
        background: clip.background() == prompt.background,
        bounce: clip.bounces(),
        neon: clip.is_neon(),
        trail: clip.trails(),
        oscillation: clip.oscillation(),
    }
}

/// The share of clips for which something holds, in percent.
pub fn share(scores: &[Score], holds: impl Fn(&Score) -> bool) -> f64 {
    let count = scores.iter().filter(|score| holds(score)).count();
    100.0 * count as f64 / scores.len().max(1) as f64
}

/// Adapters that the demo has.
pub const ADAPTERS: [&str; 3] = ["bounce", "neon", "trail"];

impl Score {
    /// Whether the clip shows what an adapter is for.
    pub fn shows(&self, adapter: &str) -> bool {
        match adapter {
            "bounce" => self.bounce,
            "neon" => self.neon,
            "trail" => self.trail,
            _ => false,
        }
    }
}
