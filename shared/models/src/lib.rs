//! cogwheel-models

pub mod tokenizer;
