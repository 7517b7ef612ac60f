mod links;
mod stages;

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use cogwheel_service::{MemorySize, Page, Precision, Tiling};
use cogwheel_video::ReadLimits;

use crate::enhancer::EnhancerArgs;
use crate::pins::Pin;
use crate::registry::RegisteredAdapter;
pub use links::StageLinkArgs;
pub use stages::{StageAddress, StageAddressError, StagesArgs};

/// Bytes of one request's message, unless the settings say otherwise.
const MAX_REQUEST_BYTES: usize = 64 << 20;

/// Pixels of an image that a request brings, unless the settings say otherwise: what phones' cameras have.
const MAX_INPUT_PIXELS: u64 = 50_000_000;

/// Frames of a video, unless the settings say otherwise: minutes, at the models' rates.
const MAX_FRAMES: u32 = 1001;

/// Pixels of a frame, unless the settings say otherwise: 4096x2160, more than any published model has positions for.
const MAX_PIXELS: u64 = 8_847_360;

/// Settings of the orchestrator.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Model and stages")]
pub struct Settings {
    /// Checkpoint folder in diffusers layout; its configs are read, and to judge adapters some of its
    /// transformer's weights
    #[arg(long, env = "COGWHEEL_MODEL", value_name = "DIR")]
    pub model: PathBuf,
    #[command(flatten)]
    /// Where the stages are.
    pub stages: StagesArgs,
    #[command(flatten)]
    /// What a request may ask for.
    pub limits: RequestLimits,
    #[command(flatten)]
    /// Where adapters are and how many.
    pub adapters: AdapterArgs,
    #[command(flatten)]
    /// Who enhances prompts.
    pub enhancer: EnhancerArgs,
    /// Adapters that are registered beside those of the folders.
    #[arg(skip)]
    pub given_adapters: Vec<Arc<RegisteredAdapter>>,
    /// Whether the stages share one machine's memory.
    #[arg(skip)]
    pub residency: Residency,
    /// What browsers are given; an orchestrator of its own has nothing for them.
    #[arg(skip)]
    pub page: Option<Page>,
}

/// What bounds requests.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Requests")]
pub struct RequestLimits {
    /// Memory a stage's machine has, e.g. 8GiB; a request that needs more is refused. Default: this machine's
    #[arg(long, env = "COGWHEEL_MEMORY_LIMIT", value_name = "BYTES")]
    pub memory_limit: Option<MemorySize>,
    /// Videos of one request
    #[arg(long, env = "COGWHEEL_MAX_VIDEOS", value_name = "N", default_value_t = 16)]
    pub max_videos: u32,
    /// Steps of one video
    #[arg(long, env = "COGWHEEL_MAX_STEPS", value_name = "N", default_value_t = 1000)]
    pub max_steps: u32,
    /// Frames of one video
    #[arg(long, env = "COGWHEEL_MAX_FRAMES", value_name = "N", default_value_t = MAX_FRAMES)]
    pub max_frames: u32,
    /// Pixels of a frame of it
    #[arg(long, env = "COGWHEEL_MAX_PIXELS", value_name = "N", default_value_t = MAX_PIXELS)]
    pub max_pixels: u64,
    /// Characters of one prompt
    #[arg(long, env = "COGWHEEL_MAX_PROMPT_CHARS", value_name = "N", default_value_t = 20_000)]
    pub max_prompt_chars: usize,
    /// Requests in work or waiting; one more is refused
    #[arg(long, env = "COGWHEEL_MAX_GENERATIONS", value_name = "N", default_value_t = 16,
        value_parser = clap::value_parser!(u32).range(1..=65536))]
    pub max_generations: u32,
    #[command(flatten)]
    /// How large it and what it brings may be.
    pub inputs: InputLimits,
    /// What the vae's --vae-tiling is, by which the memory of a request is judged
    #[arg(
        long,
        env = "COGWHEEL_VAE_TILING",
        value_enum,
        default_value = "auto",
        value_name = "on|off|auto",
        hide_possible_values = true
    )]
    pub vae_tiling: Tiling,
    /// What the stages' --precision is, by which the memory of a request is judged
    #[arg(
        long,
        value_enum,
        env = "COGWHEEL_PRECISION",
        default_value = "auto",
        value_name = "PRECISION"
    )]
    pub precision: Precision,
    /// Whether there is somebody who enhances prompts.
    #[arg(skip)]
    pub enhances_prompts: bool,
}

impl Default for RequestLimits {
    /// The defaults of the flags.
    fn default() -> Self {
        Self {
            memory_limit: None,
            max_videos: 16,
            max_steps: 1000,
            max_frames: MAX_FRAMES,
            max_pixels: MAX_PIXELS,
            max_prompt_chars: 20_000,
            max_generations: 16,
            inputs: InputLimits::default(),
            vae_tiling: Tiling::Auto,
            precision: Precision::Auto,
            enhances_prompts: false,
        }
    }
}

impl RequestLimits {
    /// What bounds the reading of an image or video.
    pub(crate) fn reading(&self) -> ReadLimits {
        let InputLimits { max_request_bytes: max_bytes, max_input_pixels: max_pixels } =
            self.inputs;
        ReadLimits { max_bytes, max_pixels, ..ReadLimits::default() }
    }
}

/// How large a request and what it brings may be.
#[derive(Args, Clone, Copy, Debug, PartialEq, Eq)]
#[command(next_help_heading = "Requests")]
pub struct InputLimits {
    /// Pixels of an image or of a video's frame that a request brings
    #[arg(long, env = "COGWHEEL_MAX_INPUT_PIXELS", value_name = "N", default_value_t = MAX_INPUT_PIXELS)]
    pub max_input_pixels: u64,
    /// Bytes of one request's message; initial latents, or an image or video, are the largest part of it
    #[arg(long, env = "COGWHEEL_MAX_REQUEST_BYTES", value_name = "BYTES", default_value_t = MAX_REQUEST_BYTES)]
    pub max_request_bytes: usize,
}

impl Default for InputLimits {
    /// The defaults of the flags.
    fn default() -> Self {
        Self { max_input_pixels: MAX_INPUT_PIXELS, max_request_bytes: MAX_REQUEST_BYTES }
    }
}

/// Where adapters are and how many.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Adapters")]
pub struct AdapterArgs {
    /// Folder of adapters: each file or folder directly in it is registered under its name when the
    /// server starts, and adapters below it can be registered by their path. In the environment
    /// several are separated by ':'
    #[arg(
        long = "adapter-dir",
        env = "COGWHEEL_ADAPTER_DIRS",
        value_name = "DIR",
        value_delimiter = ':'
    )]
    pub adapter_dirs: Vec<PathBuf>,
    /// Folder that keeps uploaded adapters from one run to the next; of one server at a time.
    /// Default: a temporary one
    #[arg(long, env = "COGWHEEL_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Adapters that are registered at once
    #[arg(long, env = "COGWHEEL_MAX_ADAPTERS", value_name = "N", default_value_t = 256)]
    pub max_adapters: usize,
    /// Bytes of one adapter's file
    #[arg(long, env = "COGWHEEL_MAX_ADAPTER_BYTES", value_name = "BYTES", default_value = "2GiB")]
    pub max_adapter_bytes: MemorySize,
    /// Variant that stays in memory once it is made, which is when the server starts if its adapters
    /// are registered by then. In the environment several are separated by ';'
    #[arg(
        long = "pin",
        env = "COGWHEEL_PINS",
        value_name = "NAME[=SCALE][,NAME[=SCALE]]...",
        value_delimiter = ';'
    )]
    pub pins: Vec<Pin>,
}

impl Default for AdapterArgs {
    /// The defaults of the flags.
    fn default() -> Self {
        Self {
            adapter_dirs: Vec::new(),
            data_dir: None,
            max_adapters: 256,
            max_adapter_bytes: MemorySize { bytes: 2 << 30 },
            pins: Vec::new(),
        }
    }
}

/// Which stages are in one machine's memory at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Residency {
    /// Each stage has a machine of its own.
    #[default]
    Apart,
    /// All of them are in this process.
    Together,
    /// This process holds one at a time: it is loaded when the one before it has been released, so
    /// one generation is made at a time.
    OneByOne,
}
