//! ONNX Runtime: the library, sessions over graphs and weights, cancellation, and the thread that
//! owns a model.
//!
//! The only crate that knows `ort`. Start at [`Runtime::load`], then [`Session::new`]; a service
//! puts its sessions on a [`Worker`].

mod error;
mod freed;
mod options;
mod runtime;
mod session;
mod telemetry;
mod weight_source;
mod worker;

pub use error::EngineError;
pub use freed::give_back;
pub use options::{Provider, SessionOptions, matrix_unit};
pub use runtime::Runtime;
pub use session::{
    Input, Output, Placed, Session, Variant, VariantInMaking, VariantMaker, WeakVariant,
};
pub use telemetry::without_telemetry;
pub use tokio_util::sync::CancellationToken;
pub use weight_source::WeightSource;
pub use worker::{
    JobContext, JobError, LoadPolicy, Pace, Readiness, SubmitError, Ticket, Worker, WorkerOptions,
};
