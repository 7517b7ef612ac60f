use std::{fmt, fs::File, io, path::Path, str::FromStr};

use rayon::prelude::*;

use crate::{TensorView, Weights};

/// 32 bytes of blake3; shown as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Plain blake3 of some bytes, as `b3sum` prints it; large ones are read in parallel.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::Hasher::new().update_rayon(bytes).finalize().as_bytes())
    }

    /// The same of a file, read block by block.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn of_file(path: &Path) -> io::Result<Self> {
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(File::open(path)?)?;
        Ok(Self(*hasher.finalize().as_bytes()))
    }

    /// A digest made elsewhere.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The digest's bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A text that is no digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected 64 lower-case hexadecimal digits")]
pub struct NoDigest;

impl FromStr for Digest {
    type Err = NoDigest;

    /// The inverse of `Display`: no other text stands for a digest, so that one can be a file's name.
    fn from_str(text: &str) -> Result<Self, NoDigest> {
        let value = |digit: u8| match digit {
            b'0'..=b'9' => Ok(digit - b'0'),
            b'a'..=b'f' => Ok(digit - b'a' + 10),
            _ => Err(NoDigest),
        };
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        let pairs: &[[u8; 2]; 32] = pairs.try_into().map_err(|_| NoDigest)?;
        if !rest.is_empty() {
            return Err(NoDigest);
        }
        let mut bytes = [0; 32];
        for (byte, [high, low]) in bytes.iter_mut().zip(*pairs) {
            *byte = value(high)? << 4 | value(low)?;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// blake3 over the tensors in the order of their names; of each, the digest of its description and bytes.
pub(crate) fn digest(weights: &Weights) -> Digest {
    let tensors: Vec<TensorView<'_>> = weights.iter().collect();
    let digests: Vec<[u8; 32]> = tensors.par_iter().map(tensor_digest).collect();
    let mut hasher = blake3::Hasher::new_derive_key("cogwheel 2026 weights v1");
    for digest in digests {
        hasher.update(&digest);
    }
    Digest(*hasher.finalize().as_bytes())
}

/// Lengths go before what they measure, so that no two tensors have the same description.
fn tensor_digest(tensor: &TensorView<'_>) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for text in [tensor.name, tensor.dtype.name()] {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.update(&(tensor.shape.len() as u64).to_le_bytes());
    for &dim in tensor.shape {
        hasher.update(&(dim as u64).to_le_bytes());
    }
    hasher.update(&tensor.bytes);
    *hasher.finalize().as_bytes()
}
