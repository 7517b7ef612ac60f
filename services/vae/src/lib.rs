//! Latents to frames: the VAE behind its service.

mod decoder;

pub use decoder::{DecodeError, Decoder};
