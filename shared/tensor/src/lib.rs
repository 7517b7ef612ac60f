//! Dense tensors as they travel between stages: a dtype, a shape and little-endian row-major bytes,
//! and their transport as a header followed by chunks.
//!
//! Knows no runtime and no network: `cogwheel-api` maps these types to messages and
//! `cogwheel-engine` maps them to ONNX Runtime values.

mod chunk;
mod dtype;
mod error;
mod storage;
mod tensor;

pub use chunk::{Assembler, MAX_RANK, TensorHeader, chunks};
pub use dtype::DType;
pub use error::TensorError;
pub use storage::Storage;
pub use tensor::Tensor;
