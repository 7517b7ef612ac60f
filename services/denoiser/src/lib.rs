//! Embeddings to latents: the transformer and the sampling loop around it.

pub mod sampling;
pub mod transformer;
