use std::borrow::Cow;

use bytes::Bytes;
use half::{bf16, f16};

use crate::{DType, TensorError};

/// A dense row-major tensor over shared bytes (little-endian). Cloning is cheap.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    dtype: DType,
    shape: Vec<usize>,
    bytes: Bytes,
}

impl Tensor {
    /// Wraps `bytes` as a tensor.
    ///
    /// # Errors
    /// [`TensorError::Length`] when the bytes do not fill the shape exactly.
    pub fn new(
        dtype: DType,
        shape: impl Into<Vec<usize>>,
        bytes: impl Into<Bytes>,
    ) -> Result<Self, TensorError> {
        let (shape, bytes) = (shape.into(), bytes.into());
        let expected = byte_length(dtype, &shape)?;
        if bytes.len() != expected {
            return Err(TensorError::Length { dtype, shape, expected, found: bytes.len() });
        }
        Ok(Self { dtype, shape, bytes })
    }

    /// An fp32 tensor that takes over `values` without copying them.
    ///
    /// # Errors
    /// [`TensorError::Length`] when the values do not fill the shape exactly.
    pub fn from_f32(shape: impl Into<Vec<usize>>, values: Vec<f32>) -> Result<Self, TensorError> {
        Self::new(DType::F32, shape, own(values))
    }

    /// An i64 tensor that takes over `values` without copying them.
    ///
    /// # Errors
    /// [`TensorError::Length`] when the values do not fill the shape exactly.
    pub fn from_i64(shape: impl Into<Vec<usize>>, values: Vec<i64>) -> Result<Self, TensorError> {
        Self::new(DType::I64, shape, own(values))
    }

    /// The values of an fp32 tensor, borrowed where the bytes are aligned, copied where they are not.
    ///
    /// # Errors
    /// [`TensorError::DType`] for any other dtype.
    pub fn as_f32(&self) -> Result<Cow<'_, [f32]>, TensorError> {
        self.values(DType::F32)
    }

    /// The values of a floating-point tensor in fp32, which holds those of halves exactly.
    ///
    /// # Errors
    /// [`TensorError::DType`] for integers.
    pub fn widened(&self) -> Result<Self, TensorError> {
        let values = match self.dtype {
            DType::F32 => return Ok(self.clone()),
            DType::F16 => half_values(&self.bytes, f16::from_le_bytes, f16::to_f32),
            DType::BF16 => half_values(&self.bytes, bf16::from_le_bytes, bf16::to_f32),
            found => return Err(TensorError::DType { expected: DType::F32, found }),
        };
        Self::from_f32(self.shape.clone(), values)
    }

    /// The values of an i64 tensor, borrowed where the bytes are aligned, copied where they are not.
    ///
    /// # Errors
    /// [`TensorError::DType`] for any other dtype.
    pub fn as_i64(&self) -> Result<Cow<'_, [i64]>, TensorError> {
        self.values(DType::I64)
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The dimensions, outermost first. A scalar has none.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The raw little-endian row-major bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.bytes.len() / self.dtype.size()
    }

    /// Whether any dimension is zero.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The same bytes under another shape.
    ///
    /// # Errors
    /// [`TensorError::Length`] when the new shape takes another number of bytes.
    pub fn reshape(self, shape: impl Into<Vec<usize>>) -> Result<Self, TensorError> {
        Self::new(self.dtype, shape, self.bytes)
    }

    fn values<T: bytemuck::AnyBitPattern + bytemuck::NoUninit>(
        &self,
        expected: DType,
    ) -> Result<Cow<'_, [T]>, TensorError> {
        if self.dtype != expected {
            return Err(TensorError::DType { expected, found: self.dtype });
        }
        Ok(match bytemuck::try_cast_slice(&self.bytes) {
            Ok(values) => Cow::Borrowed(values),
            Err(_) => Cow::Owned(bytemuck::pod_collect_to_vec(&self.bytes)),
        })
    }
}

/// Bytes that a dense tensor takes.
///
/// # Errors
/// [`TensorError::Overflow`] when the product does not fit a `usize`.
pub(crate) fn byte_length(dtype: DType, shape: &[usize]) -> Result<usize, TensorError> {
    shape
        .iter()
        .try_fold(dtype.size(), |bytes, &dim| bytes.checked_mul(dim))
        .ok_or_else(|| TensorError::Overflow { dtype, shape: shape.to_vec() })
}

/// Hands a vector's memory to `Bytes`; it keeps the vector's alignment.
fn own<T: bytemuck::NoUninit + Send + 'static>(values: Vec<T>) -> Bytes {
    struct Owner<T>(Vec<T>);
    impl<T: bytemuck::NoUninit> AsRef<[u8]> for Owner<T> {
        fn as_ref(&self) -> &[u8] {
            bytemuck::cast_slice(&self.0)
        }
    }
    Bytes::from_owner(Owner(values))
}

fn half_values<H>(bytes: &[u8], half: fn([u8; 2]) -> H, wide: fn(H) -> f32) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|&bytes| wide(half(bytes))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_survive_the_way_through_bytes() {
        let values = vec![1.0f32, -2.5, f32::MIN_POSITIVE, 0.0];
        let tensor = Tensor::from_f32([2, 2], values.clone()).unwrap();
        assert_eq!(tensor.as_f32().unwrap(), values);
        assert_eq!(tensor.bytes().len(), 16);
    }

    #[test]
    fn halves_are_widened_exactly_and_integers_not_at_all() {
        let bytes = [f16::from_f32(1.5).to_le_bytes(), f16::from_f32(-6e-8).to_le_bytes()].concat();
        let tensor = Tensor::new(DType::F16, [2], bytes).unwrap();
        let expected = [1.5, f16::from_f32(-6e-8).to_f32()];
        assert_eq!(tensor.widened().unwrap().as_f32().unwrap().as_ref(), expected);
        let bytes = bf16::from_f32(3e38).to_le_bytes().to_vec();
        let tensor = Tensor::new(DType::BF16, [1], bytes).unwrap();
        assert_eq!(tensor.widened().unwrap().as_f32().unwrap()[0], bf16::from_f32(3e38).to_f32());
        assert!(Tensor::from_i64([1], vec![1]).unwrap().widened().is_err());
    }

    #[test]
    fn unaligned_bytes_are_read_by_copying() {
        let mut bytes = vec![0u8];
        bytes.extend(7.0f32.to_le_bytes());
        let tensor = Tensor::new(DType::F32, [1], Bytes::from(bytes).slice(1..)).unwrap();
        assert_eq!(tensor.as_f32().unwrap().as_ref(), [7.0]);
    }

    #[test]
    fn a_shape_that_does_not_fit_its_bytes_is_refused() {
        let error = Tensor::new(DType::F16, [3], vec![0u8; 5]).unwrap_err();
        assert_eq!(error.to_string(), "shape [3] of F16 takes 6 bytes, found 5");
        let error = Tensor::new(DType::F32, [usize::MAX, 2], vec![]).unwrap_err();
        assert!(matches!(error, TensorError::Overflow { .. }));
    }

    #[test]
    fn another_dtype_is_refused_rather_than_reinterpreted() {
        let tensor = Tensor::from_i64([1], vec![1]).unwrap();
        let expected = TensorError::DType { expected: DType::F32, found: DType::I64 };
        assert_eq!(tensor.as_f32().unwrap_err(), expected);
    }
}
