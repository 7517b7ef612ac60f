//! The orchestrator: the public API. It checks a request against the model's own limits, runs the
//! chain of stages, and encodes frames as they arrive.
//!
//! Works from the checkpoint's configs. Of its weights it maps the transformer's, where they can be
//! read, and looks at some of them to judge adapters by.

mod enhancer;
mod generation;
mod handover;
mod input;
mod metadata;
mod model;
mod output;
mod pins;
mod plan;
mod registry;
mod service;
mod settings;

pub use enhancer::{EnhancerArgs, EnhancerUrl, EnhancerUrlError};
pub use metadata::{AdapterMetadata, Digests, VideoMetadata};
pub use pins::{Pin, PinError};
pub use plan::check;
pub use registry::{RegisteredAdapter, check_adapter_name};
pub use service::run;
pub use settings::{
    AdapterArgs, InputLimits, RequestLimits, Residency, Settings, StageAddress, StageAddressError,
    StageLinkArgs, StagesArgs, WorkLimits,
};
