//! The orchestrator: the public API. It checks a request against the model's own limits, runs the
//! chain of stages, and encodes frames as they arrive.
//!
//! Reads the checkpoint's configs, never its weights.

mod generation;
mod model;
mod output;
mod plan;
mod registry;
mod service;
mod settings;

pub use plan::check;
pub use registry::{RegisteredAdapter, check_adapter_name};
pub use service::run;
pub use settings::{AdapterArgs, MAX_REQUEST_BYTES, RequestLimits, Residency, Settings};
