//! Fixtures of the behaviour tests: the chain in one process and in four, diffusers' results, and
//! how results are compared.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "fixtures of tests")]

pub mod calls;
mod chain;
mod collector;
mod compare;
mod damaged;
pub mod evaluation;
mod eventually;
mod host;
mod http;
mod journal;
pub mod judge;
mod metrics;
pub mod parts;
mod processes;
mod reference;
mod stages;
mod video;

pub use chain::Chain;
pub use collector::{Collector, Span};
pub use compare::{psnr, relative_error};
pub use damaged::DamagedCheckpoint;
pub use eventually::eventually;
pub use host::own_host;
pub use http::{Http1, Http1Answer};
pub use journal::{Entry, Journal};
pub use metrics::Metrics;
pub use processes::{Process, ServiceProcess, binary};
pub use reference::{Case, data, repository};
pub use stages::Stages;
pub use video::{Video, collect};
