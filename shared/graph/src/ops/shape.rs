use cogwheel_tensor::DType;

use super::attribute;
use super::elementwise::same_dtype;
use crate::{GraphBuilder, GraphError, Value};

impl GraphBuilder {
    /// Another shape for the same elements: 0 keeps the dimension at that place, one -1 takes the rest.
    pub fn reshape(&mut self, x: &Value, dims: &[i64]) -> Value {
        let dims = self.ints(dims);
        self.reshape_to(x, &dims)
    }

    /// Another shape, given by a value of i64 dimensions.
    pub fn reshape_to(&mut self, x: &Value, dims: &Value) -> Value {
        self.apply(("", "Reshape"), &[Some(x), Some(dims)], vec![], x.dtype())
    }

    /// The dimensions of `x` as i64.
    pub fn shape_of(&mut self, x: &Value) -> Value {
        self.apply(("", "Shape"), &[Some(x)], vec![], DType::I64)
    }

    /// The number of elements of `x` as an i64 scalar.
    pub fn element_count(&mut self, x: &Value) -> Value {
        self.apply(("", "Size"), &[Some(x)], vec![], DType::I64)
    }

    /// `x` repeated along dimensions of size one, as numpy broadcasts it against `dims`.
    pub fn expand(&mut self, x: &Value, dims: &[i64]) -> Value {
        let dims = self.ints(dims);
        self.apply(("", "Expand"), &[Some(x), Some(&dims)], vec![], x.dtype())
    }

    /// Channels into blocks of pixels: `[batch, block * block * channels, height, width]` becomes
    /// `[batch, channels, height * block, width * block]`, the channels of a block's first row first.
    pub fn depth_to_space(&mut self, x: &Value, block: i64) -> Value {
        let attributes = vec![attribute::int("blocksize", block), attribute::string("mode", "DCR")];
        self.unary(("", "DepthToSpace"), x, attributes)
    }

    /// Dimensions reordered: result axis `k` is `x`'s axis `order[k]`.
    pub fn transpose(&mut self, x: &Value, order: &[i64]) -> Value {
        self.unary(("", "Transpose"), x, vec![attribute::ints("perm", order)])
    }

    /// Inserts dimensions of size one at these places of the result.
    pub fn unsqueeze(&mut self, x: &Value, axes: &[i64]) -> Value {
        let axes = self.ints(axes);
        self.apply(("", "Unsqueeze"), &[Some(x), Some(&axes)], vec![], x.dtype())
    }

    /// Values one after another along `axis`.
    ///
    /// # Errors
    /// [`GraphError::DType`] when they differ in dtype.
    ///
    /// # Panics
    /// When there is none.
    pub fn concat(&mut self, values: &[&Value], axis: i64) -> Result<Value, GraphError> {
        let first = values.first().expect("a concatenation has at least one part");
        same_dtype("Concat", first, values)?;
        let operands: Vec<_> = values.iter().map(|&value| Some(value)).collect();
        let attributes = vec![attribute::int("axis", axis)];
        Ok(self.apply(("", "Concat"), &operands, attributes, first.dtype()))
    }

    /// Elements `start..end` along `axis`; negative ends count from the back, `i64::MAX` is the end.
    pub fn slice(&mut self, x: &Value, axis: i64, start: i64, end: i64) -> Value {
        let (start, end, axis) = (self.ints(&[start]), self.ints(&[end]), self.ints(&[axis]));
        let operands = [Some(x), Some(&start), Some(&end), Some(&axis)];
        self.apply(("", "Slice"), &operands, vec![], x.dtype())
    }

    /// The first `count` elements along the first axis; `count` is i64 `[1]`.
    pub fn take(&mut self, x: &Value, count: &Value) -> Value {
        let start = self.ints(&[0]);
        self.apply(("", "Slice"), &[Some(x), Some(&start), Some(count)], vec![], x.dtype())
    }

    /// `N` parts of equal size along `axis`.
    pub fn split<const N: usize>(&mut self, x: &Value, axis: i64) -> [Value; N] {
        let attributes =
            vec![attribute::int("axis", axis), attribute::int("num_outputs", N as i64)];
        self.apply_many(("", "Split"), &[Some(x)], attributes, [x.dtype(); N])
    }

    /// `N` parts along `axis`, of the sizes that a value of `N` i64 gives.
    pub fn split_by<const N: usize>(&mut self, x: &Value, sizes: &Value, axis: i64) -> [Value; N] {
        let attributes = vec![attribute::int("axis", axis)];
        let operands = [Some(x), Some(sizes)];
        self.apply_many(("", "Split"), &operands, attributes, [x.dtype(); N])
    }

    /// Two parts along `axis`, the first of `first` elements and the second of `rest`.
    pub fn split_at(&mut self, x: &Value, axis: i64, first: i64) -> [Value; 2] {
        [self.slice(x, axis, 0, first), self.slice(x, axis, first, i64::MAX)]
    }

    /// The slices of `x` along `axis` at `indices` (i64, any shape).
    pub fn gather(&mut self, x: &Value, indices: &Value, axis: i64) -> Value {
        let attributes = vec![attribute::int("axis", axis)];
        self.apply(("", "Gather"), &[Some(x), Some(indices)], attributes, x.dtype())
    }
}
