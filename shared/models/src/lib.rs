//! cogwheel-models

mod build_error;
pub mod checkpoint;
pub mod config;
pub mod names;
pub mod text_encoder;
pub mod tokenizer;
pub mod transformer;
pub mod vae;

pub use build_error::BuildError;
