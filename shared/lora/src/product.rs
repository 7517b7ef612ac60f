/// A row-major matrix.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) columns: usize,
    /// Whether the matrix meant is the transposed of this one.
    pub(crate) transposed: bool,
}

impl<'a> Matrix<'a> {
    pub(crate) fn new(values: &'a [f32], columns: usize) -> Self {
        assert!(columns > 0 && values.len().is_multiple_of(columns), "whole rows");
        Self { values, columns, transposed: false }
    }

    pub(crate) fn t(self) -> Self {
        Self { transposed: !self.transposed, ..self }
    }

    /// Rows and columns of the matrix meant.
    fn shape(&self) -> (usize, usize) {
        let rows = self.values.len() / self.columns;
        if self.transposed { (self.columns, rows) } else { (rows, self.columns) }
    }

    /// Elements from a row to the next, and from a column to the next.
    fn strides(&self) -> (isize, isize) {
        if self.transposed { (1, self.columns as isize) } else { (self.columns as isize, 1) }
    }
}

/// What happens to the values that are there.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Existing {
    /// The product is added to them.
    Add,
    /// The product takes their place.
    Replace,
}

/// factor x left right, into row-major values, on this thread. `gemm` was measured at 1.3 times the speed of `ndarray`'s
/// product, which knows no AVX-512, for the thin matrices of rank 128.
///
/// # Panics
/// If the shapes do not fit each other.
pub(crate) fn multiply(
    to: &mut [f32],
    existing: Existing,
    factor: f32,
    left: Matrix<'_>,
    right: Matrix<'_>,
) {
    let ((rows, inner), (also_inner, columns)) = (left.shape(), right.shape());
    assert!(inner == also_inner && to.len() == rows * columns, "shapes that fit each other");
    let ((left_rows, left_columns), (right_rows, right_columns)) =
        (left.strides(), right.strides());
    // SAFETY: the assertions above and in `Matrix::new` keep every element that shape and strides can reach within its
    // slice, and `to` is borrowed for this call alone.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            inner,
            to.as_mut_ptr(),
            1,
            columns as isize,
            existing == Existing::Add,
            left.values.as_ptr(),
            left_columns,
            left_rows,
            right.values.as_ptr(),
            right_columns,
            right_rows,
            1.0,
            factor,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn naive(left: Matrix<'_>, right: Matrix<'_>) -> Vec<f64> {
        let ((rows, inner), (_, columns)) = (left.shape(), right.shape());
        let at = |matrix: Matrix<'_>, row: usize, column: usize| {
            let (down, across) = matrix.strides();
            f64::from(matrix.values[row * down as usize + column * across as usize])
        };
        (0..rows * columns)
            .map(|i| (0..inner).map(|k| at(left, i / columns, k) * at(right, k, i % columns)).sum())
            .collect()
    }

    proptest! {
        #[test]
        fn products_are_those_of_the_definition(
            rows in 1usize..40, inner in 1usize..40, columns in 1usize..40,
            seed in any::<u32>(), transposed in any::<[bool; 2]>(), add in any::<bool>(),
        ) {
            let values = |count: usize, salt: u32| -> Vec<f32> {
                let draw = |i: u32| (i.wrapping_mul(2_654_435_761).wrapping_add(seed ^ salt) >> 16) as f32;
                (0..count as u32).map(|i| draw(i) / 32768.0 - 1.0).collect()
            };
            let (left, right) = (values(rows * inner, 1), values(inner * columns, 2));
            let left = if transposed[0] { Matrix::new(&left, rows).t() } else { Matrix::new(&left, inner) };
            let right = if transposed[1] { Matrix::new(&right, inner).t() } else { Matrix::new(&right, columns) };
            let mut to = values(rows * columns, 3);
            let before = to.clone();
            let existing = if add { Existing::Add } else { Existing::Replace };
            multiply(&mut to, existing, 0.5, left, right);
            for ((to, before), product) in to.iter().zip(before).zip(naive(left, right)) {
                let expected = 0.5 * product + if add { f64::from(before) } else { 0.0 };
                prop_assert!((f64::from(*to) - expected).abs() < 1e-5, "{to} {expected}");
            }
        }
    }
}
