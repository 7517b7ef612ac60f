mod run;

use std::fmt;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use cogwheel_engine::{LoadPolicy, Provider, SessionOptions, WorkerOptions};
use cogwheel_tensor::{DType, Storage};

use crate::{Failure, Gate, Invalid, MemoryNeed, MemorySize, Shutdown, machine_memory};
pub use run::{Events, Queue, end, run_on};

/// Settings that every stage has.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Stage")]
pub struct StageArgs {
    /// Checkpoint folder in diffusers layout
    #[arg(long, env = "COGWHEEL_MODEL", value_name = "DIR")]
    pub model: PathBuf,
    #[command(flatten)]
    /// How the model is computed.
    pub compute: ComputeArgs,
    /// Requests that may wait; one more is refused
    #[arg(long, env = "COGWHEEL_QUEUE_DEPTH", value_name = "N", default_value_t = 16,
        value_parser = clap::value_parser!(u32).range(0..=65536))]
    pub queue_depth: u32,
    /// Memory the stage may take, e.g. 8GiB; a request that needs more is refused. Default: the machine's
    #[arg(long, env = "COGWHEEL_MEMORY_LIMIT", value_name = "BYTES")]
    pub memory_limit: Option<MemorySize>,
    /// Load the model when a request comes and release it when none waits
    #[arg(long, env = "COGWHEEL_RELEASE_AFTER_USE")]
    pub release_after_use: bool,
}

/// How a model is computed.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Computing")]
pub struct ComputeArgs {
    /// Precision of weights and of the state between steps; auto is fp32 on the CPU, where the arithmetic always is, but that
    /// int8 computes linear layers in bytes; on a GPU the transformer computes in it
    #[arg(
        long,
        value_enum,
        env = "COGWHEEL_PRECISION",
        default_value = "auto",
        value_name = "PRECISION"
    )]
    pub precision: Precision,
    /// Where the model is computed
    #[arg(
        long,
        value_enum,
        env = "COGWHEEL_EXECUTION_PROVIDER",
        default_value = "auto",
        value_name = "PROVIDER"
    )]
    pub execution_provider: ExecutionProvider,
    /// Rearrange weights at load for faster products; loading then takes them twice. auto: where they fit twice
    #[arg(long, value_enum, env = "COGWHEEL_PREPACK", default_value = "auto", value_name = "WHEN")]
    pub prepack: Prepack,
    /// Compute linear layers by the processor's matrix unit (AMX), as exact as fp32. auto: where it has one and weights are rearranged
    #[arg(
        long,
        value_enum,
        env = "COGWHEEL_MATRIX_UNIT",
        default_value = "auto",
        value_name = "WHEN"
    )]
    pub matrix_unit: MatrixUnit,
    /// Threads of one operator; default: one for each physical core
    #[arg(long, env = "COGWHEEL_THREADS", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
}

/// When weights are rearranged for faster products.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Prepack {
    /// Where they fit into memory twice.
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

/// When linear layers are computed by the processor's matrix unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MatrixUnit {
    /// Where it has one and weights are rearranged.
    Auto,
    /// Never.
    Off,
}

/// Precision of weights and of the state between steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Precision {
    /// What suits the execution provider.
    Auto,
    /// Single precision.
    Fp32,
    /// Half precision.
    Fp16,
    /// bfloat16.
    Bf16,
    /// Linear layers in bytes.
    Int8,
}

/// Where a model is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExecutionProvider {
    /// The CPU, in this build.
    Auto,
    /// The CPU.
    Cpu,
    /// An NVIDIA GPU.
    Cuda,
}

impl ComputeArgs {
    /// What weights and the state between steps are rounded to. On the CPU fp16 and bf16 are that
    /// and no more: its arithmetic is fp32. On a GPU the transformer computes in them.
    ///
    /// # Errors
    /// [`Failure::Invalid`] for what this build cannot honour: bytes on a GPU, and there a precision that is not stated.
    pub fn storage(&self) -> Result<Storage, Failure> {
        match (self.precision, self.execution_provider) {
            // On a GPU auto would be the checkpoint's own.
            (Precision::Auto | Precision::Int8, ExecutionProvider::Cuda) => {
                let (expected, found) = ("fp32, fp16 or bf16 with cuda", self.precision);
                let message =
                    format!("this build cannot honour it: expected {expected}, found {found}");
                Err(Failure::invalid("precision", message))
            }
            (Precision::Auto | Precision::Int8 | Precision::Fp32, _) => Ok(Storage::Fp32),
            (Precision::Fp16, _) => Ok(Storage::Fp16),
            (Precision::Bf16, _) => Ok(Storage::Bf16),
        }
    }

    /// The dtype that the transformer computes in.
    fn arithmetic(&self) -> DType {
        match (self.execution_provider, self.precision) {
            (ExecutionProvider::Cuda, Precision::Fp16) => DType::F16,
            (ExecutionProvider::Cuda, Precision::Bf16) => DType::BF16,
            _ => DType::F32,
        }
    }

    /// Whether linear layers are computed in bytes.
    pub fn is_quantized(&self) -> bool {
        self.precision == Precision::Int8
    }

    /// What a precision means, where that is not plain.
    pub fn precision_notice(&self) -> Option<String> {
        match self.storage() {
            Ok(Storage::Fp32) if self.is_quantized() => Some(
                "int8 on the CPU: linear layers of the transformer and the text encoder are computed in bytes, all else in fp32"
                    .to_owned(),
            ),
            Ok(Storage::Fp32) | Err(_) => None,
            Ok(_) if self.execution_provider == ExecutionProvider::Cuda => Some(format!(
                "{} on a GPU: the transformer computes in it; text encoder and VAE compute in fp32, and weights and the state between steps are rounded to it",
                self.precision
            )),
            Ok(_) => Some(format!(
                "{} on the CPU: weights and the state between steps are rounded to it, the arithmetic is fp32",
                self.precision
            )),
        }
    }
}

impl StageArgs {
    /// Passes a request that needs so many bytes at its peak, the model included.
    ///
    /// # Errors
    /// [`Failure::Invalid`] of `field` when it is more than the limit.
    pub fn check_memory(&self, field: &str, need: u64) -> Result<(), Failure> {
        match self.memory() {
            Some(limit) if need > limit => {
                let mut invalid = Invalid::default();
                invalid.add_memory(field, "", MemoryNeed { need, limit });
                Err(Failure::Invalid(invalid))
            }
            _ => Ok(()),
        }
    }

    /// Bytes of memory that the stage may take, where that is known.
    pub fn memory(&self) -> Option<u64> {
        self.memory_limit.map(|limit| limit.bytes).or_else(machine_memory)
    }

    /// What [`ComputeArgs::storage`] gives, and a word in the log on what it means.
    ///
    /// # Errors
    /// As [`ComputeArgs::storage`].
    pub fn storage(&self) -> Result<Storage, Failure> {
        let storage = self.compute.storage()?;
        if let Some(notice) = self.compute.precision_notice() {
            tracing::info!("{notice}");
        }
        Ok(storage)
    }

    /// What a session is made with, for a model of so many bytes of weights and of activations.
    pub fn session_options(&self, weights: u64, activations: u64) -> SessionOptions {
        let compute = &self.compute;
        let provider = match compute.execution_provider {
            ExecutionProvider::Auto | ExecutionProvider::Cpu => Provider::Cpu,
            ExecutionProvider::Cuda => Provider::Cuda,
        };
        let twice = weights.saturating_mul(2).saturating_add(activations);
        let prepack = match compute.prepack {
            Prepack::Auto => self.memory().is_none_or(|limit| twice <= limit),
            Prepack::On => true,
            Prepack::Off => false,
        };
        // More threads than cores wait for each other in every operator.
        let cores = std::thread::available_parallelism().map_or(usize::MAX, usize::from);
        let threads = compute.threads.map(usize::from);
        if threads.is_some_and(|threads| threads > cores) {
            tracing::warn!(?threads, cores, "more threads than cores: one for each core is used");
        }
        SessionOptions {
            provider,
            arithmetic: compute.arithmetic(),
            threads: threads.map(|threads| threads.min(cores)),
            prepack,
            matrix_unit: prepack && compute.matrix_unit == MatrixUnit::Auto,
            quantize: None,
            variants: false,
        }
    }

    /// The same for a model of which these layers, by the names of their weights, are quantized where that is asked for.
    pub fn quantized_options(
        &self,
        (weights, activations): (u64, u64),
        layers: fn(&str) -> bool,
    ) -> SessionOptions {
        let quantize = self.compute.is_quantized().then_some(layers);
        SessionOptions { quantize, ..self.session_options(weights, activations) }
    }

    /// Lets in the call that runs and those that may wait.
    pub fn gate(&self, what: &'static str, shutdown: &Shutdown) -> Gate {
        Gate::new(what, (self.queue_depth as usize).saturating_add(1), shutdown)
    }

    /// What the stage's worker is made with.
    pub fn worker_options(&self, name: &str) -> WorkerOptions {
        let policy =
            if self.release_after_use { LoadPolicy::ReleaseAfterUse } else { LoadPolicy::Keep };
        WorkerOptions { name: name.to_owned(), queue_depth: self.queue_depth as usize, policy }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.to_possible_value().as_ref().map_or("", |value| value.get_name()))
    }
}
