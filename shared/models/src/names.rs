//! The tensors of a checkpoint, names and shapes, as diffusers and transformers save them: what each config calls for.

mod list;
mod text_encoder;
mod transformer;
mod vae;

use cogwheel_weights::ExpectedTensor;
pub use text_encoder::{
    EMBEDDING, TIED_EMBEDDING, embedding_name, is_kept_fp32, text_encoder, text_encoder_in,
};
pub use transformer::{POSITION_TABLE, transformer};
pub use vae::{vae, vae_decoder, vae_encoder};

/// Elements of all tensors together, but for the learned position table: diffusers stores it as a buffer, and the
/// published parameter counts leave it out.
pub fn parameter_count(tensors: &[ExpectedTensor]) -> u64 {
    tensors.iter().filter(|tensor| tensor.name != POSITION_TABLE).map(elements).sum()
}

/// Elements of one tensor. The bounds of the configs keep this, and any sum of these, far below 2^64.
pub fn elements(tensor: &ExpectedTensor) -> u64 {
    tensor.shape.iter().map(|&dim| dim as u64).product()
}

#[cfg(test)]
mod tests;
