//! cogwheel-models

pub mod checkpoint;
pub mod config;
pub mod names;
pub mod tokenizer;
pub mod transformer;
