use std::path::PathBuf;

use cogwheel_product::ProductError;
use cogwheel_tensor::{DType, TensorError};

/// Why a session could not be made or run.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The library is in none of the places where it may be.
    #[error(
        "ONNX Runtime ({file}) not found; looked at {}; `make setup` brings it, or ORT_DYLIB_PATH names it",
        list(.looked_at)
    )]
    LibraryNotFound {
        /// File name of the library on this system.
        file: &'static str,
        /// Every path that was tried, in order.
        looked_at: Vec<PathBuf>,
    },
    /// The file is there and is not the library that this build needs.
    #[error("{} is not ONNX Runtime {expected}: {reason}", .path.display())]
    Library {
        /// The file.
        path: PathBuf,
        /// The version this build is made for.
        expected: &'static str,
        /// What the loader found.
        reason: String,
    },
    /// An execution provider was asked for that the library or the machine does not have.
    #[error("execution provider {provider} is not available: {reason}")]
    Provider {
        /// Its name, as in `--execution-provider`.
        provider: &'static str,
        /// What ONNX Runtime says.
        reason: String,
    },
    /// A weight could not be read.
    #[error("weight '{name}': {source}")]
    Weight {
        /// Name of the tensor.
        name: String,
        /// What went wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A weight is not what the graph expects.
    #[error(
        "weight '{name}': expected {expected_dtype} {expected:?}, found {found_dtype} {found:?}"
    )]
    WeightForm {
        /// Name of the tensor.
        name: String,
        /// Dtype in the graph.
        expected_dtype: DType,
        /// Shape in the graph.
        expected: Vec<usize>,
        /// Dtype supplied.
        found_dtype: DType,
        /// Shape supplied.
        found: Vec<usize>,
    },
    /// A weight that the matrix unit cannot be given.
    #[error("weight '{name}': {source}")]
    Product {
        /// Name of the tensor.
        name: String,
        /// What is wrong with it.
        source: ProductError,
    },
    /// A variant is to change what the graph does not have.
    #[error("weight '{name}': expected one that the graph has")]
    NoWeight {
        /// Name of the tensor.
        name: String,
    },
    /// A variant of a session that has none.
    #[error("expected a session that was made to have variants")]
    NoVariants,
    /// An output has an element type that no tensor of ours has.
    #[error("output '{name}' holds {found}, which no tensor here can")]
    OutputType {
        /// Name of the output.
        name: String,
        /// What ONNX Runtime calls the type.
        found: String,
    },
    /// The caller's token fired, before the run or within it.
    #[error("cancelled")]
    Cancelled,
    /// ONNX Runtime refused or failed.
    #[error("{doing}: {message}")]
    Runtime {
        /// What was being done.
        doing: &'static str,
        /// Its message.
        message: String,
    },
    /// The bytes of an output do not fill its shape.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

impl EngineError {
    /// An error of ONNX Runtime in the course of `doing`.
    pub(crate) fn of<R>(doing: &'static str) -> impl Fn(ort::Error<R>) -> Self {
        move |error| Self::Runtime { doing, message: error.message().to_owned() }
    }
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}
