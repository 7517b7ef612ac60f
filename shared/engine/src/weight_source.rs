use cogwheel_graph::WeightSlot;
use cogwheel_tensor::{DType, Tensor};
use cogwheel_weights::Weights;

use crate::EngineError;

/// Where a session's weights come from.
pub trait WeightSource {
    /// The weight for `slot`, in the slot's dtype.
    ///
    /// # Errors
    /// Whatever keeps it from being read; the session adds its name.
    fn weight(&self, slot: &WeightSlot)
    -> Result<Tensor, Box<dyn std::error::Error + Send + Sync>>;

    /// The weight for `slot` in the floating-point dtype in which it is kept, for whoever converts it anyhow.
    ///
    /// # Errors
    /// As [`Self::weight`].
    fn stored(
        &self,
        slot: &WeightSlot,
    ) -> Result<Tensor, Box<dyn std::error::Error + Send + Sync>> {
        self.weight(slot)
    }
}

/// A checkpoint: bytes as they lie in the memory map where the dtype is the slot's, else converted.
impl WeightSource for Weights {
    fn weight(
        &self,
        slot: &WeightSlot,
    ) -> Result<Tensor, Box<dyn std::error::Error + Send + Sync>> {
        Ok(self.tensor_as(&slot.name, slot.dtype)?)
    }

    fn stored(
        &self,
        slot: &WeightSlot,
    ) -> Result<Tensor, Box<dyn std::error::Error + Send + Sync>> {
        Ok(self.tensor_stored(&slot.name)?)
    }
}

/// Reads a weight and holds it against what the graph expects.
pub(crate) fn supply(source: &dyn WeightSource, slot: &WeightSlot) -> Result<Tensor, EngineError> {
    let tensor = source
        .weight(slot)
        .map_err(|source| EngineError::Weight { name: slot.name.clone(), source })?;
    fit(tensor, slot, |dtype| dtype == slot.dtype)
}

/// Reads a weight as it is kept, in any floating-point dtype, and holds its shape against what the graph expects.
pub(crate) fn supply_stored(
    source: &dyn WeightSource,
    slot: &WeightSlot,
) -> Result<Tensor, EngineError> {
    let tensor = source
        .stored(slot)
        .map_err(|source| EngineError::Weight { name: slot.name.clone(), source })?;
    fit(tensor, slot, |dtype| matches!(dtype, DType::F32 | DType::F16 | DType::BF16))
}

pub(crate) fn fit(
    tensor: Tensor,
    slot: &WeightSlot,
    is_dtype: impl Fn(DType) -> bool,
) -> Result<Tensor, EngineError> {
    if !is_dtype(tensor.dtype()) || !same_matrix(&slot.shape, tensor.shape()) {
        return Err(EngineError::WeightForm {
            name: slot.name.clone(),
            expected_dtype: slot.dtype,
            expected: slot.shape.clone(),
            found_dtype: tensor.dtype(),
            found: tensor.shape().to_vec(),
        });
    }
    Ok(tensor.reshape(slot.shape.clone())?)
}

/// Whether the shapes are equal, or `expected` is a matrix and `found` a kernel of `[out, ...]`
/// whose rows it lists: a convolution's weight read as a matrix product's.
fn same_matrix(expected: &[usize], found: &[usize]) -> bool {
    match (expected, found) {
        _ if expected == found => true,
        ([rows, columns], [out, kernel @ ..]) => {
            rows == out && kernel.len() > 1 && *columns == kernel.iter().product::<usize>()
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_kernel_may_be_read_as_a_matrix() {
        assert!(same_matrix(&[4, 6], &[4, 6]));
        assert!(same_matrix(&[4, 16], &[4, 4, 2, 2]));
        assert!(!same_matrix(&[6, 4], &[4, 6]));
        assert!(!same_matrix(&[4, 6], &[24]));
        assert!(!same_matrix(&[24], &[4, 6]));
        assert!(!same_matrix(&[4, 16], &[4, 5, 2, 2]));
    }
}
