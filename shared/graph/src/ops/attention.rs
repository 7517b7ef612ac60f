use super::attribute;
use super::elementwise::same_dtype;
use crate::{GraphBuilder, GraphError, Value};

/// What attention needs to know beside its operands.
#[derive(Clone, Copy, Debug)]
pub struct Attention<'a> {
    /// Number of heads that the last dimension is cut into.
    pub heads: usize,
    /// Factor on the scores before the softmax; `None` is `1 / sqrt(head_dim)`.
    pub scale: Option<f32>,
    /// Added to the scores: `[1 or batch, heads or 1, queries, keys]`.
    pub bias: Option<&'a Value>,
}

impl GraphBuilder {
    /// `softmax(q k^T * scale + bias) v` for each head, not causal, no mask; `q`, `k`, `v` and the
    /// result are `[batch, tokens, heads * head_dim]`.
    ///
    /// # Errors
    /// [`GraphError::DType`] when the operands differ in dtype.
    pub fn attention(
        &mut self,
        [q, k, v]: [&Value; 3],
        attention: Attention<'_>,
    ) -> Result<Value, GraphError> {
        same_dtype("MultiHeadAttention", q, &[k, v])?;
        same_dtype("MultiHeadAttention", q, attention.bias.as_slice())?;
        let mut attributes = vec![attribute::int("num_heads", attention.heads as i64)];
        attributes.extend(attention.scale.map(|scale| attribute::float("scale", scale)));
        // Operands 3 and 4 are a projection bias and a key padding mask; neither is used here.
        let operands = [Some(q), Some(k), Some(v), None, None, attention.bias];
        let count = if attention.bias.is_some() { 6 } else { 3 };
        let operator = ("com.microsoft", "MultiHeadAttention");
        Ok(self.apply(operator, &operands[..count], attributes, q.dtype()))
    }

    /// Rotates neighbouring pairs of each head by the angle of their token:
    /// `(x0, x1) -> (x0 cos - x1 sin, x1 cos + x0 sin)`.
    ///
    /// `x` is `[batch, tokens, heads * head_dim]` or `[batch, heads, tokens, head_dim]`, `cos` and
    /// `sin` are `[tokens, head_dim / 2]`, one row a token.
    ///
    /// # Errors
    /// [`GraphError::DType`] when the operands differ in dtype.
    pub fn rotary(&mut self, x: &Value, cos: &Value, sin: &Value) -> Result<Value, GraphError> {
        same_dtype("RotaryEmbedding", x, &[cos, sin])?;
        // A single position id is the row of the first token.
        let first_row = self.ints(&[0]);
        let operands = [Some(x), Some(&first_row), Some(cos), Some(sin)];
        let attributes = vec![attribute::int("interleaved", 1)];
        let operator = ("com.microsoft", "RotaryEmbedding");
        Ok(self.apply(operator, &operands, attributes, x.dtype()))
    }
}

#[cfg(test)]
mod tests {
    use cogwheel_tensor::DType;

    use super::*;

    #[test]
    fn an_operand_of_another_dtype_is_an_error_even_if_it_is_optional() {
        let mut g = GraphBuilder::new("dtypes");
        let x = g.input("x", DType::F32, &[]).unwrap();
        let half = g.input("half", DType::F16, &[]).unwrap();
        let attention = |bias| Attention { heads: 1, scale: None, bias };
        assert!(g.attention([&x, &x, &x], attention(Some(&x))).is_ok());
        let errors = [
            g.attention([&x, &x, &x], attention(Some(&half))).unwrap_err(),
            g.layer_norm(&x, &x, Some(&half), 1e-5).unwrap_err(),
        ];
        for error in errors {
            assert!(
                matches!(&error, GraphError::DType { value, .. } if value == "half"),
                "{error}"
            );
        }
    }
}
