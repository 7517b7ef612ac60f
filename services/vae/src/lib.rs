//! Latents to frames, and frames to latents: the VAE behind its service.

mod chunked;
mod decoder;
mod encoder;
mod error;
mod service;

pub use decoder::{Decoded, Decoder};
pub use encoder::{Encoder, Posterior};
pub use error::VaeError;
pub use service::{Settings, run};
