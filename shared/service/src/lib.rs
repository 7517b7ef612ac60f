//! The skeleton of a process: settings, logs, listeners, channels, health, drain, deadlines and the
//! one place where failures become gRPC statuses.

mod access;
mod activity;
mod address;
mod admin;
mod call;
mod cause;
mod config;
mod credentials;
mod deadline;
mod dialer;
mod exit;
mod failure;
mod health;
mod leave;
mod limits;
mod listener;
mod logs;
mod memory;
mod memory_size;
mod methods;
pub mod metrics;
mod page;
mod process;
mod receive;
mod receiving;
mod reloaded;
mod respond;
mod server;
mod shutdown;
mod signals;
mod stage;
mod stall;
mod status;
mod telemetry;
mod tiling;
mod tls;
mod trace;
mod warm_up;

pub use address::{Address, AddressError};
pub use admin::Admin;
pub use call::{Call, Gate};
pub use cause::innermost_cause;
pub use config::{
    Config, ConfigArgs, ConfigError, Entry, FileTable, FileTables, Identity, Parsed, Place,
    TableKind, Token, file_key, parse,
};
pub use credentials::{Credentials, TokenSource};
pub use dialer::{Dialer, DialerSettings, Link, connect};
pub use exit::{Exit, Fatal};
pub use failure::{Failure, Invalid, Violation};
pub use health::Health;
pub use leave::leave;
pub use limits::{Limits, ServerArgs, Switch};
pub use listener::{Connector, Listener, memory_listener};
pub use logs::{LogArgs, LogFormat};
pub use memory::{MemoryNeed, machine_memory};
pub use memory_size::{MemorySize, MemorySizeError};
pub use page::{Page, PageFile};
pub use process::{HELP_WIDTH, command, one_line, run_process};
pub use receive::receive;
pub use respond::{Responder, Responses};
pub use server::Server;
pub use shutdown::Shutdown;
pub use signals::Signals;
pub use stage::{
    ComputeArgs, Events, ExecutionProvider, MatrixUnit, Precision, Prepack, Queue, StageArgs, end,
    run_on,
};
pub use status::StageStatus;
pub use telemetry::{Telemetry, TraceArgs};
pub use tiling::{Tiling, TilingArgs};
pub use tls::TlsArgs;
pub use trace::TraceContext;
pub use warm_up::warmed_up;
