use std::path::PathBuf;

use clap::Args;
use cogwheel_models::checkpoint::StageMemory;
use cogwheel_service::{MemorySize, StageArgs};

use crate::variants::VariantSettings;

/// Settings of the denoiser.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    #[command(flatten)]
    /// What every stage has.
    pub stage: StageArgs,
    #[command(flatten)]
    /// What it does with adapters.
    pub adapters: AdapterSettings,
}

/// What the denoiser does with adapters.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Variants")]
pub struct AdapterSettings {
    /// Memory of merged variants that stay when nobody uses them, e.g. 8GiB; 0 keeps none.
    /// Default: half of what the model leaves of the memory limit
    #[arg(long, env = "COGWHEEL_VARIANT_MEMORY", value_name = "BYTES",
        value_parser = MemorySize::parse_or_none)]
    pub variant_memory: Option<MemorySize>,
    /// Folder that keeps merged tensors on disk, so that a restart does not merge again
    #[arg(long, env = "COGWHEEL_VARIANT_CACHE", value_name = "DIR")]
    pub variant_cache: Option<PathBuf>,
    /// Bytes of that folder; past them what was not used the longest is removed
    #[arg(
        long,
        env = "COGWHEEL_VARIANT_CACHE_BYTES",
        value_name = "BYTES",
        default_value = "64GiB"
    )]
    pub variant_cache_bytes: MemorySize,
    /// How often a request waits for one behind it whose adapters are merged already
    #[arg(long, env = "COGWHEEL_MAX_PASSED", value_name = "N", default_value_t = 8)]
    pub max_passed: u32,
    /// Bytes of adapters' files that are kept
    #[arg(long, env = "COGWHEEL_ADAPTER_BYTES", value_name = "BYTES", default_value = "16GiB")]
    pub adapter_bytes: MemorySize,
}

impl Default for AdapterSettings {
    /// The defaults of the flags.
    fn default() -> Self {
        Self {
            variant_memory: None,
            variant_cache: None,
            variant_cache_bytes: MemorySize { bytes: 64 << 30 },
            max_passed: 8,
            adapter_bytes: MemorySize { bytes: 16 << 30 },
        }
    }
}

impl AdapterSettings {
    /// How variants are kept by a stage that itself needs so much memory and computes with so many threads.
    pub(super) fn variants(
        &self,
        stage: &StageArgs,
        need: StageMemory,
        threads: Option<usize>,
    ) -> VariantSettings {
        let left = |need: u64| stage.memory().map(|limit| limit.saturating_sub(need));
        let half = || left(need.weights + need.activations).map_or(u64::MAX, |left| left / 2);
        let byte_budget = match self.variant_memory {
            // What is loaded for one request at a time is released after it.
            _ if stage.release_after_use => 0,
            Some(budget) => budget.bytes,
            None => half(),
        };
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        VariantSettings {
            byte_budget,
            memory: left(need.weights),
            cache: self.variant_cache.clone().map(|dir| (dir, self.variant_cache_bytes.bytes)),
            max_passed: self.max_passed,
            threads: threads.unwrap_or_else(cores),
        }
    }
}
