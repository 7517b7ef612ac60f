use super::attribute;
use super::elementwise::same_dtype;
use crate::{GraphBuilder, GraphError, Value};

impl GraphBuilder {
    /// `(x - mean) / sqrt(variance + epsilon) * scale + bias` over the last dimension.
    ///
    /// # Errors
    /// [`GraphError::DType`] when the operands differ in dtype.
    pub fn layer_norm(
        &mut self,
        x: &Value,
        scale: &Value,
        bias: Option<&Value>,
        epsilon: f32,
    ) -> Result<Value, GraphError> {
        same_dtype("LayerNormalization", x, &[scale])?;
        same_dtype("LayerNormalization", x, bias.as_slice())?;
        let attributes = vec![attribute::int("axis", -1), attribute::float("epsilon", epsilon)];
        let operands = [Some(x), Some(scale), bias];
        let count = if bias.is_some() { 3 } else { 2 };
        let operator = ("", "LayerNormalization");
        Ok(self.apply(operator, &operands[..count], attributes, x.dtype()))
    }

    /// `x / sqrt(mean(x^2) + epsilon) * scale` over the last dimension (T5's layer norm).
    ///
    /// # Errors
    /// [`GraphError::DType`] when the operands differ in dtype.
    pub fn rms_norm(
        &mut self,
        x: &Value,
        scale: &Value,
        epsilon: f32,
    ) -> Result<Value, GraphError> {
        same_dtype("SimplifiedLayerNormalization", x, &[scale])?;
        let attributes = vec![attribute::int("axis", -1), attribute::float("epsilon", epsilon)];
        let operator = ("", "SimplifiedLayerNormalization");
        Ok(self.apply(operator, &[Some(x), Some(scale)], attributes, x.dtype()))
    }

    /// Each channel of `[batch, channels, ...]` normalized over its own elements, then scaled and
    /// shifted per channel.
    ///
    /// # Errors
    /// [`GraphError::DType`] when the operands differ in dtype.
    pub fn instance_norm(
        &mut self,
        x: &Value,
        scale: &Value,
        bias: &Value,
        epsilon: f32,
    ) -> Result<Value, GraphError> {
        same_dtype("InstanceNormalization", x, &[scale, bias])?;
        let attributes = vec![attribute::float("epsilon", epsilon)];
        let operands = [Some(x), Some(scale), Some(bias)];
        Ok(self.apply(("", "InstanceNormalization"), &operands, attributes, x.dtype()))
    }
}
