mod limits;
mod links;
mod stages;

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use cogwheel_service::{MemorySize, Page};

use crate::enhancer::EnhancerArgs;
use crate::pins::Pin;
use crate::registry::RegisteredAdapter;
pub use limits::{InputLimits, RequestLimits, WorkLimits};
pub use links::StageLinkArgs;
pub use stages::{StageAddress, StageAddressError, StagesArgs};

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
