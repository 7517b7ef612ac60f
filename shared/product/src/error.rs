use cogwheel_tensor::DType;

/// Why a product cannot be computed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ProductError {
    /// A weight is a matrix of fp32, fp16 or bf16.
    #[error("expected a weight [out, in] of F32, F16 or BF16, found {dtype} {shape:?}")]
    Weight {
        /// Its dtype.
        dtype: DType,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// An operand is of another length than the weight calls for.
    #[error("{operand}: expected {expected} values, found {found}")]
    Length {
        /// Which one.
        operand: &'static str,
        /// Values there must be.
        expected: usize,
        /// Values there are.
        found: usize,
    },
    /// The packed weight is larger than what can be addressed.
    #[error("a weight of {shape:?} is too large to pack")]
    TooLarge {
        /// Its shape.
        shape: Vec<usize>,
    },
}
