//! LoRA adapters for CogVideoX: their files in every layout in the wild, checked against a model, with the scale that
//! each has and where it comes from; and the variants that they make of a model, as the tensors that change.
//!
//! [`Adapter::open`] reads a file, [`Adapter::describe`] checks it against a [`Model`], a [`Recipe`] says which adapters
//! make a variant and at what scales, and [`merge`] computes the variant's changed tensors.
//!
//! Nothing a file says is believed before it is checked. An adapter that could not take effect in whole is refused: one
//! that is silently ignored is what its users complain of most.

mod adapter;
mod config;
mod description;
mod error;
mod layout;
mod merge;
mod model;
mod product;
mod recipe;

pub use adapter::{Adapter, AdapterFiles, Alpha, AlphaSource, Target};
pub use description::{AlphaGroup, Description, ScaleGroup};
pub use error::AdapterError;
pub use layout::Layout;
pub use merge::{ChangedTensor, MergeError, MergeOptions, merge};
pub use model::{Model, Published};
pub use recipe::{Recipe, RecipeError, VariantId};
