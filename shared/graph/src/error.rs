use cogwheel_tensor::DType;

/// A graph that ONNX could not type, found while it is built.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum GraphError {
    /// Two operands of one operator hold different dtypes.
    #[error("operator {operator}: expected {expected}, found {found} in '{value}'")]
    DType {
        /// The ONNX operator.
        operator: &'static str,
        /// Dtype of the first operand.
        expected: DType,
        /// Dtype of the offending operand.
        found: DType,
        /// Name of the offending operand.
        value: String,
    },
    /// Two weights, inputs or constants want one name.
    #[error("name '{0}' is used twice in the graph")]
    Duplicate(String),
}
