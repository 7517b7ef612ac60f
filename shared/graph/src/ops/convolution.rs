use super::attribute;
use super::elementwise::same_dtype;
use crate::{GraphBuilder, GraphError, Value};

/// Geometry of a convolution over `n` spatial dimensions.
#[derive(Clone, Copy, Debug)]
pub struct Convolution<'a> {
    /// Size of the kernel along each dimension.
    pub kernel: &'a [i64],
    /// Step along each dimension; empty is 1 everywhere.
    pub strides: &'a [i64],
    /// Zeros before each dimension, then after each; empty is none.
    pub pads: &'a [i64],
}

impl GraphBuilder {
    /// Convolves `x` of `[batch, in, ...]` with a weight of `[out, in, kernel...]`.
    ///
    /// The weight must be a constant of the graph, see [`GraphBuilder::constant`].
    ///
    /// # Errors
    /// [`GraphError::DType`] when the operands differ in dtype.
    pub fn conv(
        &mut self,
        x: &Value,
        weight: &Value,
        bias: Option<&Value>,
        convolution: Convolution<'_>,
    ) -> Result<Value, GraphError> {
        same_dtype("Conv", x, &[weight])?;
        if let Some(bias) = bias {
            same_dtype("Conv", x, &[bias])?;
        }
        let mut attributes = vec![attribute::ints("kernel_shape", convolution.kernel)];
        for (name, values) in [("strides", convolution.strides), ("pads", convolution.pads)] {
            if !values.is_empty() {
                attributes.push(attribute::ints(name, values));
            }
        }
        let operands = [Some(x), Some(weight), bias];
        let count = if bias.is_some() { 3 } else { 2 };
        Ok(self.apply(("", "Conv"), &operands[..count], attributes, x.dtype()))
    }
}
