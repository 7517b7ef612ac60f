use std::path::PathBuf;

use clap::{ArgGroup, Args, ValueEnum};
use cogwheel_api::denoiser::v1::Scheduler;
use cogwheel_orchestrator::{EnhancerArgs, InputLimits};
use cogwheel_service::{Address, ComputeArgs, ConfigArgs, LogArgs, TilingArgs};
use serde::Deserialize;

use super::{COMPUTING, ClientArgs, Lora, MemorySize, NamedAdapter, Switch};

/// Most videos of one command: each has files of its own, all of which are checked beforehand.
pub const MAX_VIDEOS: u32 = 1000;

// Headings of its help.
const MODEL: &str = "Model";
const WHAT: &str = "What to make";
const OUTPUT: &str = "Output";
const SIZE: &str = "Size";
const SAMPLING: &str = "Sampling";
const ADAPTERS: &str = "Adapters";

/// Settings of `cogwheel generate`. What is left open is the model's default.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = WHAT, after_help = super::examples::GENERATE)]
#[command(group(ArgGroup::new("source").required(true).args(["model", "endpoint"])))]
pub struct GenerateArgs {
    /// Checkpoint folder in diffusers layout, or OWNER/NAME of a pulled one; the model runs in this process
    #[arg(long, help_heading = MODEL, value_name = "DIR|OWNER/NAME")]
    pub model: Option<PathBuf>,
    /// Server that has the model, e.g. http://127.0.0.1:50051
    #[arg(long, help_heading = MODEL, value_name = "URL")]
    pub endpoint: Option<Address>,
    /// What the video shows
    #[arg(long, value_name = "TEXT", required_unless_present_any = ["from", "prompt_file", "print_config"])]
    pub prompt: Option<String>,
    /// Make a video again: an MP4 file of this program, or the JSON beside a video. What else is stated
    /// takes the place of what it says; with --model its adapters are given by --lora
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,
    /// A video for each line: a prompt, or in a file that ends in .jsonl an object with a prompt and
    /// options by their names, image and video among them. They are called NAME-LINE.EXT; those that are there already, whole and
    /// made for the same request, are not made again (precision and tiling are not looked at)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["prompt", "from", "num_videos", "compare"])]
    pub prompt_file: Option<PathBuf>,
    /// Leave out lines of --prompt-file that cannot be read or made, and end with 2
    #[arg(long, requires = "prompt_file")]
    pub skip_broken_lines: bool,
    /// Where it goes: .mp4, .gif, .safetensors, or a folder for PNG pictures
    #[arg(long, help_heading = OUTPUT, value_name = "FILE")]
    pub output: PathBuf,
    /// What the video does not show
    #[arg(long, value_name = "TEXT")]
    pub negative_prompt: Option<String>,
    /// Have a language model write the prompt out first: the server's, or with --model that of --prompt-enhancer, which implies it
    #[arg(long)]
    pub enhance_prompt: bool,
    /// Picture the video starts from, for models that want one: PNG, JPEG or WebP; it is resized to the video's size
    #[arg(long, value_name = "FILE", conflicts_with = "video")]
    pub image: Option<PathBuf>,
    /// Video the new one is made of, or that controls it where the model wants one: MP4 (H.264), GIF, or a folder
    /// of pictures in the order of their names, hidden files apart. Its first frames are taken, and resized to the new
    /// one's size; of a folder no more are read than that, at most 1000
    #[arg(long, value_name = "FILE|FOLDER")]
    pub video: Option<PathBuf>,
    /// How far to depart from --video, above 0 and at most 1 [default: 0.8]
    #[arg(long, value_name = "STRENGTH", allow_negative_numbers = true)]
    pub strength: Option<f64>,
    /// Pixels, a multiple of 16
    #[arg(long, help_heading = SIZE, value_name = "N", allow_negative_numbers = true)]
    pub width: Option<u32>,
    /// Pixels, a multiple of 16
    #[arg(long, help_heading = SIZE, value_name = "N", allow_negative_numbers = true)]
    pub height: Option<u32>,
    /// Frames, 8n+1; with --video by default as many as it has, at most the model's
    #[arg(long, help_heading = SIZE, value_name = "N", allow_negative_numbers = true)]
    pub num_frames: Option<u32>,
    /// Frames per second of the file
    #[arg(long, help_heading = SIZE, value_name = "N", allow_negative_numbers = true)]
    pub fps: Option<u32>,
    /// Steps of the sampling loop [default: 50]
    #[arg(long, help_heading = SAMPLING, value_name = "N", allow_negative_numbers = true)]
    pub num_inference_steps: Option<u32>,
    /// Classifier-free guidance; at 1 or less it is off [default: 6.0]
    #[arg(long, help_heading = SAMPLING, value_name = "SCALE", allow_negative_numbers = true)]
    pub guidance_scale: Option<f64>,
    /// How latents move from one timestep to the next
    #[arg(long, help_heading = SAMPLING, value_enum, value_name = "ddim|dpm", hide_possible_values = true)]
    pub scheduler: Option<SchedulerName>,
    /// Whether guidance varies with the timestep [default: on with dpm]
    #[arg(long, help_heading = SAMPLING, value_enum, value_name = "on|off", hide_possible_values = true)]
    pub dynamic_cfg: Option<Switch>,
    /// Seed of the first video; the following ones count up from it
    #[arg(long, help_heading = SAMPLING, value_name = "N", allow_negative_numbers = true)]
    pub seed: Option<u64>,
    /// Number of videos; given, they are called NAME-0.EXT and so on
    #[arg(long, help_heading = OUTPUT, value_name = "N", allow_negative_numbers = true,
        value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_VIDEOS)))]
    pub num_videos: Option<u32>,
    /// Load and use an adapter: a file, or a folder as diffusers has it. A path has no comma. With
    /// --endpoint it is sent to the server, which keeps it
    #[arg(long, help_heading = ADAPTERS, value_name = "PATH[,weight-name=FILE][,name=NAME][,scale=S][,alpha=A]")]
    pub lora: Vec<Lora>,
    /// Use an adapter that the server has, with --endpoint; after those of --lora
    #[arg(long, help_heading = ADAPTERS, value_name = "NAME[=SCALE]")]
    pub adapter: Vec<NamedAdapter>,
    /// Put the same prompt and seed without the adapters on the left of one video
    #[arg(long, help_heading = ADAPTERS)]
    pub compare: bool,
    #[command(flatten)]
    /// How large a request and what it brings may be; with --endpoint as far as the server takes it.
    pub inputs: InputLimits,
    #[command(flatten)]
    /// Who enhances prompts, with --model.
    pub enhancer: EnhancerArgs,
    #[command(flatten)]
    /// How the model is computed, with --model.
    pub compute: ComputeArgs,
    #[command(flatten, next_help_heading = COMPUTING)]
    /// Whether frames are decoded in tiles.
    pub tiling: TilingArgs,
    /// Memory to stay within, e.g. 8GiB, with --model [default: the machine's]
    #[arg(long, help_heading = COMPUTING, env = "COGWHEEL_MEMORY_LIMIT", value_name = "BYTES")]
    pub memory_limit: Option<MemorySize>,
    /// Tensor `latents` [frames, channels, height, width], fp32: used instead of drawn noise
    #[arg(long, help_heading = SAMPLING, value_name = "FILE.safetensors")]
    pub initial_latents: Option<PathBuf>,
    /// Where the latents go that the last step gave
    #[arg(long, help_heading = OUTPUT, value_name = "FILE.safetensors")]
    pub output_latents: Option<PathBuf>,
    /// Tell where the time went
    #[arg(long, help_heading = OUTPUT)]
    pub verbose: bool,
    #[command(flatten)]
    /// How the server is reached, with --endpoint.
    pub client: ClientArgs,
    #[command(flatten)]
    /// Logs.
    pub logs: LogArgs,
    #[command(flatten)]
    /// Where settings are read from.
    pub config: ConfigArgs,
}

/// Schedulers by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum SchedulerName {
    /// CogVideoXDDIMScheduler.
    Ddim,
    /// CogVideoXDPMScheduler.
    Dpm,
}

impl From<SchedulerName> for Scheduler {
    fn from(name: SchedulerName) -> Self {
        match name {
            SchedulerName::Ddim => Self::Ddim,
            SchedulerName::Dpm => Self::Dpm,
        }
    }
}
