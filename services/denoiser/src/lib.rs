//! Embeddings to latents: the transformer and the sampling loop around it.

pub mod sampling;
mod service;
pub mod transformer;

pub use service::{Settings, run};
