//! The parts of CogVideoX: what a model's folder says, and the graphs that compute it.
//!
//! [`checkpoint::Checkpoint`] opens a folder as diffusers saves it: [`config`] reads and checks its files, [`names`] are
//! the tensors they call for. [`tokenizer`], [`text_encoder`], [`transformer`] and [`vae`] are the parts in the order of
//! their work, the last three as graphs for a session to run.

mod build_error;
pub mod checkpoint;
pub mod config;
pub mod names;
pub mod text_encoder;
pub mod tokenizer;
pub mod transformer;
pub mod vae;

pub use build_error::BuildError;
