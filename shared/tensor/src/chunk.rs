use bytes::{Bytes, BytesMut};

use crate::tensor::byte_length;
use crate::{DType, Tensor, TensorError};

/// What precedes a tensor's chunks on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorHeader {
    /// What the tensor is, e.g. `latents`.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// Dimensions, outermost first.
    pub shape: Vec<usize>,
}

/// Most dimensions that a header may announce: well above the five of a batch of videos, and few enough that a
/// message can say them.
pub const MAX_RANK: usize = 8;

impl TensorHeader {
    /// The header that announces `tensor` as `name`.
    pub fn of(name: impl Into<String>, tensor: &Tensor) -> Self {
        Self { name: name.into(), dtype: tensor.dtype(), shape: tensor.shape().to_vec() }
    }

    /// Bytes that the chunks will hold together.
    ///
    /// # Errors
    /// [`TensorError::Rank`] for more than [`MAX_RANK`] dimensions; [`TensorError::Overflow`] when the product does not
    /// fit a `usize`.
    pub fn byte_length(&self) -> Result<usize, TensorError> {
        if self.shape.len() > MAX_RANK {
            let (name, found) = (self.name.clone(), self.shape.len());
            return Err(TensorError::Rank { name, limit: MAX_RANK, found });
        }
        byte_length(self.dtype, &self.shape)
    }
}

/// Cuts a tensor's bytes into chunks of at most `chunk_bytes`, without copying.
///
/// # Panics
/// When `chunk_bytes` is zero, which no setting allows.
pub fn chunks(tensor: &Tensor, chunk_bytes: usize) -> impl Iterator<Item = Bytes> + use<> {
    assert!(chunk_bytes > 0, "a chunk holds at least one byte");
    let bytes = tensor.bytes().clone();
    (0..bytes.len()).step_by(chunk_bytes).map(move |start| {
        let end = bytes.len().min(start + chunk_bytes);
        bytes.slice(start..end)
    })
}

/// Puts a tensor together from its header and chunks.
///
/// The header is checked against the limit before any memory is taken, and memory grows with what
/// has really arrived: a header that lies costs nothing.
#[derive(Debug)]
pub struct Assembler {
    header: TensorHeader,
    expected: usize,
    received: BytesMut,
}

impl Assembler {
    /// Starts a tensor of at most `limit` bytes.
    ///
    /// # Errors
    /// [`TensorError::Rank`], [`TensorError::TooLarge`] or [`TensorError::Overflow`] from the header alone.
    pub fn new(header: TensorHeader, limit: usize) -> Result<Self, TensorError> {
        let expected = header.byte_length()?;
        if expected > limit {
            return Err(TensorError::TooLarge { name: header.name, bytes: expected, limit });
        }
        Ok(Self { header, expected, received: BytesMut::new() })
    }

    /// Takes the next chunk.
    ///
    /// # Errors
    /// [`TensorError::Chunks`] when it runs over the announced length.
    pub fn push(&mut self, chunk: &[u8]) -> Result<(), TensorError> {
        let found = self.received.len() + chunk.len();
        if found > self.expected {
            return Err(self.mismatch(found));
        }
        self.received.extend_from_slice(chunk);
        Ok(())
    }

    /// Whether every announced byte has arrived.
    pub fn is_complete(&self) -> bool {
        self.received.len() == self.expected
    }

    /// The name in the header.
    pub fn name(&self) -> &str {
        &self.header.name
    }

    /// The tensor under its name.
    ///
    /// # Errors
    /// [`TensorError::Chunks`] when bytes are missing.
    pub fn finish(self) -> Result<(String, Tensor), TensorError> {
        if !self.is_complete() {
            return Err(self.mismatch(self.received.len()));
        }
        let tensor = Tensor::new(self.header.dtype, self.header.shape, self.received.freeze())?;
        Ok((self.header.name, tensor))
    }

    fn mismatch(&self, found: usize) -> TensorError {
        TensorError::Chunks { name: self.header.name.clone(), expected: self.expected, found }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(shape: &[usize]) -> TensorHeader {
        TensorHeader { name: "latents".into(), dtype: DType::F32, shape: shape.to_vec() }
    }

    #[test]
    fn a_tensor_is_the_same_after_chunks_of_any_size() {
        let tensor = Tensor::from_f32([5], vec![1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
        for size in [1, 3, 4, 7, 20, 100] {
            let mut assembler = Assembler::new(TensorHeader::of("latents", &tensor), 20).unwrap();
            for chunk in chunks(&tensor, size) {
                assert!(chunk.len() <= size);
                assembler.push(&chunk).unwrap();
            }
            assert_eq!(assembler.finish().unwrap(), ("latents".to_owned(), tensor.clone()));
        }
    }

    #[test]
    fn a_header_over_the_limit_is_refused_before_memory_is_taken() {
        let error = Assembler::new(header(&[1 << 40]), 1024).unwrap_err();
        assert!(matches!(error, TensorError::TooLarge { limit: 1024, .. }));
        let error = Assembler::new(header(&[usize::MAX, 8]), usize::MAX).unwrap_err();
        assert!(matches!(error, TensorError::Overflow { .. }));
    }

    #[test]
    fn a_header_of_more_dimensions_than_any_tensor_has_is_refused_without_saying_them() {
        assert!(Assembler::new(header(&[1; MAX_RANK]), 64).is_ok());
        let error = Assembler::new(header(&[usize::MAX; 100_000]), usize::MAX).unwrap_err();
        let expected = "tensor 'latents': expected at most 8 dimensions, found 100000";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn too_many_and_too_few_bytes_are_told() {
        let mut assembler = Assembler::new(header(&[2]), 64).unwrap();
        assembler.push(&[0; 6]).unwrap();
        let error = assembler.push(&[0; 3]).unwrap_err();
        assert_eq!(error.to_string(), "tensor 'latents': expected 8 bytes in chunks, found 9");
        assert!(!assembler.is_complete());
        let error = assembler.finish().unwrap_err();
        assert_eq!(error.to_string(), "tensor 'latents': expected 8 bytes in chunks, found 6");
    }
}
