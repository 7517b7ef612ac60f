use std::path::PathBuf;

use clap::{ArgGroup, Args};
use cogwheel_service::{
    ComputeArgs, ExecutionProvider, Fatal, MatrixUnit, MemorySize, Precision, Prepack,
};
use cogwheel_tensor::Storage;

use super::Lora;

/// Settings of `cogwheel adapters merge`. The environment has no part in them: what it says there is for servers.
#[derive(Args, Clone, Debug)]
#[command(after_help = super::examples::MERGE)]
#[command(group(
    ArgGroup::new("target").required(true).multiple(true).args(["output", "variant_cache"])
))]
pub struct MergeArgs {
    /// Checkpoint folder in diffusers layout, or OWNER/NAME of a pulled one
    #[arg(long, value_name = "DIR|OWNER/NAME")]
    pub model: PathBuf,
    /// An adapter, as with generate; several in the order of merging
    #[arg(long, required = true, value_name = "PATH[,weight-name=FILE][,scale=S][,alpha=A]")]
    pub lora: Vec<Lora>,
    /// Folder to make: config.json and the weights, in the checkpoint's own dtype
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Folder of a server's --variant-cache, which then need not merge: gets the tensors that change
    #[arg(long, value_name = "DIR")]
    pub variant_cache: Option<PathBuf>,
    /// Bytes of that folder; past them what was not used the longest is removed
    #[arg(long, value_name = "BYTES", default_value = "64GiB", requires = "variant_cache")]
    pub variant_cache_bytes: MemorySize,
    /// The server's, which the tensors of that folder are rounded to; auto is fp32, as on the CPU
    #[arg(
        long,
        value_enum,
        value_name = "PRECISION",
        default_value = "auto",
        requires = "variant_cache"
    )]
    pub precision: Precision,
}

impl MergeArgs {
    /// What a server of this precision rounds merged tensors to.
    ///
    /// # Errors
    /// A precision that no server of this build has.
    pub fn storage(&self) -> Result<Storage, Fatal> {
        let compute = ComputeArgs {
            precision: self.precision,
            execution_provider: ExecutionProvider::Cpu,
            prepack: Prepack::Auto,
            matrix_unit: MatrixUnit::Auto,
            threads: None,
        };
        compute.storage().map_err(|failure| Fatal::usage(format!("--{failure}")))
    }
}
