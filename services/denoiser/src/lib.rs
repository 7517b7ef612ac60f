//! Embeddings to latents: the transformer and the sampling loop around it.

pub mod adapters;
pub mod sampling;
mod service;
pub mod transformer;
pub mod variants;

pub use service::{AdapterSettings, Settings, run};
