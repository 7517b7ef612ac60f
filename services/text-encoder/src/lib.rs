//! Prompts to embeddings: the tokenizer and T5 behind their service.

mod cache;
mod encoder;
mod service;

pub use cache::EmbeddingCache;
pub use encoder::{EncodeError, Encoded, TextEncoder, TextEncoderOptions, Truncation};
pub use service::{Settings, run};
