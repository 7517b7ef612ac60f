//! Latents to frames: the VAE behind its service.

mod decoder;
mod service;

pub use decoder::{DecodeError, Decoded, Decoder};
pub use service::{Settings, run};
