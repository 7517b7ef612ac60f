use std::path::PathBuf;

use clap::Args;
use cogwheel_denoiser::AdapterSettings;
use cogwheel_orchestrator::{AdapterArgs, EnhancerArgs, InputLimits, WorkLimits};
use cogwheel_service::{ComputeArgs, ConfigArgs, LogArgs, ServerArgs, TilingArgs, TraceArgs};

use super::{COMPUTING, MemorySize, Switch};

/// Settings of `cogwheel serve`.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Model", after_help = super::examples::SERVE)]
pub struct ServeArgs {
    /// Checkpoint folder in diffusers layout, or OWNER/NAME of a pulled one
    #[arg(long, env = "COGWHEEL_MODEL", value_name = "DIR|OWNER/NAME")]
    pub model: PathBuf,
    #[command(flatten)]
    /// Where it listens and what bounds it.
    pub server: ServerArgs,
    /// Whether browsers are given a page, at http://ADDR/, that calls this server by gRPC-Web
    #[arg(
        long,
        help_heading = "Server",
        env = "COGWHEEL_PAGE",
        value_enum,
        default_value = "on",
        value_name = "on|off",
        hide_possible_values = true
    )]
    pub page: Switch,
    #[command(flatten)]
    /// How much work a request may be.
    pub work: WorkLimits,
    #[command(flatten)]
    /// How large a request and what it brings may be.
    pub inputs: InputLimits,
    #[command(flatten)]
    /// Who enhances prompts.
    pub enhancer: EnhancerArgs,
    #[command(flatten)]
    /// Where adapters are and how many.
    pub adapters: AdapterArgs,
    #[command(flatten)]
    /// How the denoiser keeps what it merges of them.
    pub variants: AdapterSettings,
    #[command(flatten)]
    /// How the model is computed.
    pub compute: ComputeArgs,
    #[command(flatten, next_help_heading = COMPUTING)]
    /// Whether frames are decoded in tiles.
    pub tiling: TilingArgs,
    /// Memory to stay within, e.g. 8GiB [default: the machine's]
    #[arg(long, help_heading = COMPUTING, env = "COGWHEEL_MEMORY_LIMIT", value_name = "BYTES")]
    pub memory_limit: Option<MemorySize>,
    /// Requests that may wait at one stage; one more is refused
    #[arg(long, help_heading = "Server", env = "COGWHEEL_QUEUE_DEPTH", value_name = "N", default_value_t = 16,
        value_parser = clap::value_parser!(u32).range(0..=65536))]
    pub queue_depth: u32,
    #[command(flatten)]
    /// Logs.
    pub logs: LogArgs,
    #[command(flatten)]
    /// Traces.
    pub traces: TraceArgs,
    #[command(flatten)]
    /// Where settings are read from.
    pub config: ConfigArgs,
}
