use cogwheel_tensor::DType;

use super::attribute;
use crate::proto::{AttributeProto, element_type};
use crate::{GraphBuilder, GraphError, Value};

impl GraphBuilder {
    /// `a + b`, broadcast as numpy does.
    ///
    /// # Errors
    /// [`GraphError::DType`] when the operands differ in dtype, as for every binary operator here.
    pub fn add(&mut self, a: &Value, b: &Value) -> Result<Value, GraphError> {
        self.binary("Add", a, b)
    }

    /// `a - b`, broadcast as numpy does.
    ///
    /// # Errors
    /// As [`GraphBuilder::add`].
    pub fn sub(&mut self, a: &Value, b: &Value) -> Result<Value, GraphError> {
        self.binary("Sub", a, b)
    }

    /// `a * b`, broadcast as numpy does.
    ///
    /// # Errors
    /// As [`GraphBuilder::add`].
    pub fn mul(&mut self, a: &Value, b: &Value) -> Result<Value, GraphError> {
        self.binary("Mul", a, b)
    }

    /// `a / b`, broadcast as numpy does.
    ///
    /// # Errors
    /// As [`GraphBuilder::add`].
    pub fn div(&mut self, a: &Value, b: &Value) -> Result<Value, GraphError> {
        self.binary("Div", a, b)
    }

    /// `x * sigmoid(x)` in one pass (`QuickGelu` with alpha 1).
    pub fn silu(&mut self, x: &Value) -> Value {
        let attributes = vec![attribute::float("alpha", 1.0)];
        self.unary(("com.microsoft", "QuickGelu"), x, attributes)
    }

    /// GELU by its tanh approximation, as PyTorch's `gelu(approximate="tanh")`.
    pub fn gelu_tanh(&mut self, x: &Value) -> Value {
        self.unary(("", "Gelu"), x, vec![attribute::string("approximate", "tanh")])
    }

    /// The square root.
    pub fn sqrt(&mut self, x: &Value) -> Value {
        self.unary(("", "Sqrt"), x, vec![])
    }

    /// Converts to another dtype.
    pub fn cast(&mut self, x: &Value, to: DType) -> Value {
        if x.dtype() == to {
            return x.clone();
        }
        let attributes = vec![attribute::int("to", element_type(to).into())];
        self.apply(("", "Cast"), &[Some(x)], attributes, to)
    }

    pub(crate) fn unary(
        &mut self,
        operator: (&str, &str),
        x: &Value,
        attributes: Vec<AttributeProto>,
    ) -> Value {
        self.apply(operator, &[Some(x)], attributes, x.dtype())
    }

    fn binary(
        &mut self,
        operator: &'static str,
        a: &Value,
        b: &Value,
    ) -> Result<Value, GraphError> {
        same_dtype(operator, a, &[b])?;
        Ok(self.apply(("", operator), &[Some(a), Some(b)], vec![], a.dtype()))
    }
}

/// ONNX's arithmetic never converts: every operand has the dtype of the first.
pub(crate) fn same_dtype(
    operator: &'static str,
    first: &Value,
    others: &[&Value],
) -> Result<(), GraphError> {
    for other in others {
        if other.dtype() != first.dtype() {
            return Err(GraphError::DType {
                operator,
                expected: first.dtype(),
                found: other.dtype(),
                value: other.name().to_owned(),
            });
        }
    }
    Ok(())
}
