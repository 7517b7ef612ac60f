use clap::Args;
use cogwheel_service::{MemorySize, Precision, Tiling};
use cogwheel_video::ReadLimits;

/// Bytes of one request's message, unless the settings say otherwise.
const MAX_REQUEST_BYTES: usize = 64 << 20;

/// Pixels of an image that a request brings, unless the settings say otherwise: what phones' cameras have.
const MAX_INPUT_PIXELS: u64 = 50_000_000;

/// Frames of a video, unless the settings say otherwise: minutes, at the models' rates.
const MAX_FRAMES: u32 = 1001;

/// Pixels of a frame, unless the settings say otherwise: 4096x2160, more than any published model has positions for.
const MAX_PIXELS: u64 = 8_847_360;

/// Videos of one request, unless the settings say otherwise.
const MAX_VIDEOS: u32 = 16;

/// Steps of a video, unless the settings say otherwise: as many as the models were trained on.
const MAX_STEPS: u32 = 1000;

/// Characters of a prompt, unless the settings say otherwise: many times what the models read of it.
const MAX_PROMPT_CHARS: usize = 20_000;

/// Requests at once, unless the settings say otherwise.
const MAX_GENERATIONS: u32 = 16;

/// What bounds requests.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Requests")]
pub struct RequestLimits {
    /// Memory a stage's machine has, e.g. 8GiB; a request that needs more is refused. Default: this machine's
    #[arg(long, env = "COGWHEEL_MEMORY_LIMIT", value_name = "BYTES")]
    pub memory_limit: Option<MemorySize>,
    #[command(flatten)]
    /// How much work it may be.
    pub work: WorkLimits,
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
            work: WorkLimits::default(),
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

/// How much work a request may be, and how many there may be.
#[derive(Args, Clone, Copy, Debug, PartialEq, Eq)]
#[command(next_help_heading = "Requests")]
pub struct WorkLimits {
    /// Videos of one request
    #[arg(long, env = "COGWHEEL_MAX_VIDEOS", value_name = "N", default_value_t = MAX_VIDEOS)]
    pub max_videos: u32,
    /// Steps of one video
    #[arg(long, env = "COGWHEEL_MAX_STEPS", value_name = "N", default_value_t = MAX_STEPS)]
    pub max_steps: u32,
    /// Frames of one video
    #[arg(long, env = "COGWHEEL_MAX_FRAMES", value_name = "N", default_value_t = MAX_FRAMES)]
    pub max_frames: u32,
    /// Pixels of a frame of it
    #[arg(long, env = "COGWHEEL_MAX_PIXELS", value_name = "N", default_value_t = MAX_PIXELS)]
    pub max_pixels: u64,
    /// Characters of one prompt
    #[arg(long, env = "COGWHEEL_MAX_PROMPT_CHARS", value_name = "N", default_value_t = MAX_PROMPT_CHARS)]
    pub max_prompt_chars: usize,
    /// Requests in work or waiting; one more is refused
    #[arg(long, env = "COGWHEEL_MAX_GENERATIONS", value_name = "N", default_value_t = MAX_GENERATIONS,
        value_parser = clap::value_parser!(u32).range(1..=65536))]
    pub max_generations: u32,
}

impl Default for WorkLimits {
    /// The defaults of the flags.
    fn default() -> Self {
        Self {
            max_videos: MAX_VIDEOS,
            max_steps: MAX_STEPS,
            max_frames: MAX_FRAMES,
            max_pixels: MAX_PIXELS,
            max_prompt_chars: MAX_PROMPT_CHARS,
            max_generations: MAX_GENERATIONS,
        }
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
