use std::path::Path;

use cogwheel_tensor::{DType, Tensor};
use cogwheel_weights::Digest;
use rayon::prelude::*;

use super::Target;
use crate::AdapterError;

/// Reads all matrices once, in parallel: whether every number is finite, and what they are, as a digest.
///
/// # Errors
/// [`AdapterError::Tensor`], which names the first tensor with a number that is not finite, or one whose zeros leave the
/// model as it is, where all are such.
pub(super) fn check(path: &Path, targets: &[Target]) -> Result<Digest, AdapterError> {
    let is_idle = |target: &Target| {
        let adds = |tensor: &Tensor| !is_zero(tensor);
        target.magnitude.is_none()
            && !(adds(&target.a) && adds(&target.b))
            && !target.bias.as_ref().is_some_and(adds)
    };
    if let Some(first) = targets.first()
        && targets.iter().all(is_idle)
    {
        let tensor = format!("{} (B)", first.module);
        let expected = "a number other than 0 in any layer, for an adapter that has an effect";
        return Err(AdapterError::tensor(path, &tensor, expected, "none"));
    }
    let parts: Vec<(&str, &str, &Tensor)> = targets
        .iter()
        .flat_map(|target| {
            target.parts().map(|(part, tensor)| (target.module.as_str(), part, tensor))
        })
        .collect();
    let digests: Vec<Option<[u8; 32]>> = parts
        .par_iter()
        .map(|(module, part, tensor)| is_finite(tensor).then(|| digest(module, part, tensor)))
        .collect();
    let mut hasher = blake3::Hasher::new_derive_key("cogwheel 2026 adapter content v1");
    for ((module, part, _), digest) in parts.iter().zip(digests) {
        let Some(digest) = digest else {
            let tensor = format!("{module} ({part})");
            return Err(AdapterError::tensor(path, &tensor, "finite numbers", "NaN or infinity"));
        };
        hasher.update(&digest);
    }
    Ok(Digest::from_bytes(*hasher.finalize().as_bytes()))
}

/// Lengths go before what they measure, so that no two parts have the same description.
fn digest(module: &str, part: &str, tensor: &Tensor) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for text in [module, part, tensor.dtype().name()] {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.update(&(tensor.shape().len() as u64).to_le_bytes());
    for &dim in tensor.shape() {
        hasher.update(&(dim as u64).to_le_bytes());
    }
    hasher.update(tensor.bytes());
    *hasher.finalize().as_bytes()
}

/// A number is not finite where all bits of its exponent are set.
fn is_finite(tensor: &Tensor) -> bool {
    match tensor.dtype() {
        DType::F32 => {
            all(tensor.bytes(), |b: [u8; 4]| (u32::from_le_bytes(b) >> 23) & 0xff != 0xff)
        }
        DType::F16 => {
            all(tensor.bytes(), |b: [u8; 2]| (u16::from_le_bytes(b) >> 10) & 0x1f != 0x1f)
        }
        DType::BF16 => {
            all(tensor.bytes(), |b: [u8; 2]| (u16::from_le_bytes(b) >> 7) & 0xff != 0xff)
        }
        DType::I64 | DType::I32 | DType::U8 | DType::I8 => true,
    }
}

/// Ends at the first number that is not zero, which in nearly every file is the first.
fn is_zero(tensor: &Tensor) -> bool {
    // Minus zero adds nothing either.
    match tensor.dtype().size() {
        4 => tensor.bytes().as_chunks().0.iter().all(|&b| u32::from_le_bytes(b) << 1 == 0),
        2 => tensor.bytes().as_chunks().0.iter().all(|&b| u16::from_le_bytes(b) << 1 == 0),
        _ => false,
    }
}

/// No early end: the loop without one is many times as fast, and nearly every file is sound.
fn all<const N: usize>(bytes: &[u8], is_finite: impl Fn([u8; N]) -> bool) -> bool {
    let (elements, _) = bytes.as_chunks::<N>();
    elements.iter().fold(true, |all, &element| all & is_finite(element))
}
