//! The configs of a checkpoint folder, with diffusers' and transformers' constructor defaults for absent keys.

mod error;
mod file;
mod scheduler;
mod text_encoder;
mod transformer;
mod vae;

pub use error::ConfigError;
pub(crate) use file::{ConfigFile, quote};
pub use scheduler::SchedulerFileConfig;
pub use text_encoder::TextEncoderConfig;
pub use transformer::TransformerConfig;
pub use vae::VaeConfig;

#[cfg(test)]
mod tests;
