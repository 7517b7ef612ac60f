//! A builder of ONNX models: typed values, operators, and weights that are named but not contained.
//!
//! Knows ONNX and no model. Graphs are written at opset [`OPSET`] plus the `com.microsoft`
//! operators that ONNX Runtime's CPU and CUDA providers both have.

mod builder;
mod error;
mod linears;
mod ops;
pub mod proto;
mod value;

pub use builder::{GraphBuilder, OPSET};
pub use error::GraphError;
pub use linears::LinearOperator;
pub use ops::attention::Attention;
pub use ops::convolution::Convolution;
pub use value::{Dim, Model, Value, WeightSlot};
