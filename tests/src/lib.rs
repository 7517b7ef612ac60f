//! Fixtures of the behaviour tests: the chain in one process and in four, diffusers' results, and
//! how results are compared.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "fixtures of tests")]

mod chain;
mod compare;
mod journal;
mod processes;
mod reference;
mod video;

pub use chain::Chain;
pub use compare::{psnr, relative_error};
pub use journal::{Entry, Journal};
pub use processes::{Process, ServiceProcess, Stages, binary};
pub use reference::{Case, data, repository};
pub use video::{Video, collect};
