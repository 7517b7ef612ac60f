//! Safetensors checkpoints, memory-mapped: single files and shards with an index, checked names and shapes, digests,
//! and conversion between F32, F16 and BF16.
//!
//! Nothing a file says is believed before it is checked: a header that lies gives an error, never a panic, and takes
//! no memory beyond the header's own text. What cannot be defended against is a file that is cut short or rewritten
//! while it is open: the map then reads what the file holds, and reading past its new end is a SIGBUS. Replace
//! checkpoints by renaming a new file over the old one, which leaves an open map as it was.

mod check;
mod convert;
mod digest;
mod error;
mod header;
mod index;
mod locate;
mod weights;

pub use check::{ExpectedTensor, Mismatch, Strictness};
pub use digest::{Digest, NoDigest};
pub use error::WeightsError;
pub use weights::{TensorView, Weights};
