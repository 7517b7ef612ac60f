//! Latents to frames, and frames to latents: the VAE behind its service.

mod autoencoder;
mod chunked;
mod decoder;
mod encoder;
mod error;
mod seams;
mod service;

pub use decoder::{Decoded, Decoder};
pub use encoder::{Encoded, Encoder, LatentUse, Posterior};
pub use error::VaeError;
pub use service::{Settings, run};
