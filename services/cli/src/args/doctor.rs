use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use cogwheel_service::ConfigArgs;

use super::MemorySize;

/// Settings of `cogwheel doctor`.
#[derive(Args, Clone, Debug)]
#[command(after_help = super::examples::DOCTOR)]
pub struct DoctorArgs {
    /// Checkpoint folder to check too, or OWNER/NAME of a pulled one
    #[arg(long, env = "COGWHEEL_MODEL", value_name = "DIR|OWNER/NAME")]
    pub model: Option<PathBuf>,
    /// Address that a server is to listen on
    #[arg(long, env = "COGWHEEL_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:50051")]
    pub listen: SocketAddr,
    /// Memory to stay within, e.g. 8GiB [default: the machine's]
    #[arg(long, env = "COGWHEEL_MEMORY_LIMIT", value_name = "BYTES")]
    pub memory_limit: Option<MemorySize>,
    #[command(flatten)]
    /// Where settings are read from.
    pub config: ConfigArgs,
}
