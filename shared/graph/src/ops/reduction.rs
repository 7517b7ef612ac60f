use super::attribute;
use crate::{GraphBuilder, Value};

/// Reductions over `axes`, which stay as dimensions of size one.
impl GraphBuilder {
    /// The mean.
    pub fn reduce_mean(&mut self, x: &Value, axes: &[i64]) -> Value {
        self.reduce("ReduceMean", x, axes)
    }

    /// The sum.
    pub fn reduce_sum(&mut self, x: &Value, axes: &[i64]) -> Value {
        self.reduce("ReduceSum", x, axes)
    }

    /// The sum of squares.
    pub fn reduce_sum_square(&mut self, x: &Value, axes: &[i64]) -> Value {
        self.reduce("ReduceSumSquare", x, axes)
    }

    fn reduce(&mut self, operator: &str, x: &Value, axes: &[i64]) -> Value {
        let axes = self.ints(axes);
        let attributes = vec![attribute::int("keepdims", 1)];
        self.apply(("", operator), &[Some(x), Some(&axes)], attributes, x.dtype())
    }
}
