use super::attribute;
use super::elementwise::same_dtype;
use crate::{GraphBuilder, GraphError, Value};

impl GraphBuilder {
    /// `x @ weight^T + bias` for `x` of `[rows, in]` and a weight of `[out, in]`, the layout in
    /// which checkpoints store linear layers: the weight is read as it lies on disk.
    ///
    /// # Errors
    /// [`GraphError::DType`] when the operands differ in dtype.
    pub fn linear(
        &mut self,
        x: &Value,
        weight: &Value,
        bias: Option<&Value>,
    ) -> Result<Value, GraphError> {
        same_dtype("Gemm", x, &[weight])?;
        if let Some(bias) = bias {
            same_dtype("Gemm", x, &[bias])?;
        }
        let operands = [Some(x), Some(weight), bias];
        let count = if bias.is_some() { 3 } else { 2 };
        let attributes = vec![attribute::int("transB", 1)];
        Ok(self.apply(("", "Gemm"), &operands[..count], attributes, x.dtype()))
    }

    /// `a @ b` over the last two dimensions, the others broadcast.
    ///
    /// # Errors
    /// [`GraphError::DType`] when the operands differ in dtype.
    pub fn matmul(&mut self, a: &Value, b: &Value) -> Result<Value, GraphError> {
        same_dtype("MatMul", a, &[b])?;
        Ok(self.apply(("", "MatMul"), &[Some(a), Some(b)], vec![], a.dtype()))
    }
}
