//! What every reader here shares: limits, errors, and what a file is by its first bytes.

mod error;
mod kind;
mod limits;

pub use error::ReadError;
pub(crate) use kind::{FileKind, kind_of};
pub use limits::ReadLimits;
