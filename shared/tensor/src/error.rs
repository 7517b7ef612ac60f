use crate::DType;

/// Why bytes are not the tensor they were said to be.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TensorError {
    /// The shape's element count times the element size does not fit in memory at all.
    #[error("shape {shape:?} of {dtype} is larger than this machine can address")]
    Overflow {
        /// The dtype asked for.
        dtype: DType,
        /// The shape asked for.
        shape: Vec<usize>,
    },
    /// The bytes do not fill the shape exactly.
    #[error("shape {shape:?} of {dtype} takes {expected} bytes, found {found}")]
    Length {
        /// The dtype stated.
        dtype: DType,
        /// The shape stated.
        shape: Vec<usize>,
        /// Bytes the shape takes.
        expected: usize,
        /// Bytes that were given.
        found: usize,
    },
    /// The tensor holds another dtype than the caller can use.
    #[error("expected a tensor of {expected}, found {found}")]
    DType {
        /// What the caller can use.
        expected: DType,
        /// What the tensor holds.
        found: DType,
    },
    /// A header announces more dimensions than any tensor here has.
    #[error("tensor '{name}': expected at most {limit} dimensions, found {found}")]
    Rank {
        /// Name in the header.
        name: String,
        /// The most there may be.
        limit: usize,
        /// Dimensions announced.
        found: usize,
    },
    /// A header announces more bytes than the receiver takes.
    #[error("tensor '{name}' of {bytes} bytes is over the limit of {limit}")]
    TooLarge {
        /// Name in the header.
        name: String,
        /// Bytes announced.
        bytes: usize,
        /// The receiver's limit.
        limit: usize,
    },
    /// The chunks ended early or ran over.
    #[error("tensor '{name}': expected {expected} bytes in chunks, found {found}")]
    Chunks {
        /// Name in the header.
        name: String,
        /// Bytes announced by the header.
        expected: usize,
        /// Bytes received so far, the offending chunk included.
        found: usize,
    },
}
