use std::sync::atomic::{AtomicBool, Ordering};

use cogwheel_tensor::{DType, Tensor};
use cogwheel_weights::{TensorView, Weights, WeightsError};
use half::{bf16, f16};
use rayon::prelude::*;

use super::{
    MergeError,
    floats::{Rounded, floats, own, widen},
};
use crate::{
    Target,
    product::{Existing, Matrix, multiply},
};

/// Values computed at once by a thread: they stay in a core's second-level cache, and are enough that the product's
/// rearranging of A, done for each block anew, takes little of its time.
const BLOCK: usize = 1 << 18;

/// Rows of a block however wide: the product's kernel computes as many at a time.
const FEWEST_ROWS: usize = 8;

/// A layer's pair in fp32.
struct Term {
    a: Vec<f32>,
    b: Vec<f32>,
    rank: usize,
    factor: f32,
    magnitude: Option<Vec<f32>>,
}

/// A layer's weight with all terms added, in order.
pub(super) fn weight(
    base: &Weights,
    name: &str,
    targets: &[(&Target, f32)],
    dtype: DType,
    cancelled: &(dyn Fn() -> bool + Sync),
) -> Result<Tensor, MergeError> {
    let view = tensor(base, name)?;
    let mut terms = Vec::with_capacity(targets.len());
    for (target, factor) in targets {
        let expected = [&[target.rows()], &target.a.shape()[1..]].concat();
        if view.shape != expected {
            return Err(shape(name, expected, &view));
        }
        let values = |tensor: &Tensor| {
            floats(tensor.dtype(), tensor.bytes())
                .ok_or_else(|| MergeError::DType { what: name.to_owned(), found: tensor.dtype() })
        };
        terms.push(Term {
            a: values(&target.a)?,
            b: values(&target.b)?,
            rank: target.rank(),
            factor: *factor,
            magnitude: target.magnitude.as_ref().map(values).transpose()?,
        });
    }
    match dtype {
        DType::F16 => rows::<f16>(&view, name, &terms, dtype, cancelled),
        DType::BF16 => rows::<bf16>(&view, name, &terms, dtype, cancelled),
        _ => rows::<f32>(&view, name, &terms, dtype, cancelled),
    }
}

/// A layer's bias with all biases of adapters added.
pub(super) fn bias(
    base: &Weights,
    name: &str,
    targets: &[(&Target, f32)],
    dtype: DType,
) -> Result<Tensor, MergeError> {
    let view = tensor(base, name)?;
    let mut sum = floats(view.dtype, &view.bytes)
        .ok_or_else(|| MergeError::DType { what: name.to_owned(), found: view.dtype })?;
    for (target, factor) in targets {
        let Some(bias) = &target.bias else { continue };
        if view.shape != bias.shape() {
            return Err(shape(name, bias.shape().to_vec(), &view));
        }
        let bias = floats(bias.dtype(), bias.bytes())
            .ok_or_else(|| MergeError::DType { what: name.to_owned(), found: bias.dtype() })?;
        sum.iter_mut().zip(bias).for_each(|(sum, bias)| *sum += factor * bias);
    }
    match dtype {
        DType::F16 => rounded::<f16>(&sum, name, dtype, view.shape),
        DType::BF16 => rounded::<bf16>(&sum, name, dtype, view.shape),
        _ => rounded::<f32>(&sum, name, dtype, view.shape),
    }
}

/// Whether a tensor is the base's, rounded.
pub(super) fn is_base(base: &Weights, name: &str, made: &Tensor) -> bool {
    let base = base.get(name).and_then(|view| floats(view.dtype, &view.bytes));
    let Some(base) = base else { return false };
    match made.dtype() {
        DType::F16 => is_rounded::<f16>(&base, made),
        DType::BF16 => is_rounded::<bf16>(&base, made),
        _ => is_rounded::<f32>(&base, made),
    }
}

fn is_rounded<T: Rounded>(values: &[f32], made: &Tensor) -> bool {
    let mut rounded: Vec<T> = bytemuck::zeroed_vec(values.len());
    T::round(values, &mut rounded);
    bytemuck::cast_slice::<T, u8>(&rounded) == &made.bytes()[..]
}

fn rounded<T: Rounded>(
    values: &[f32],
    name: &str,
    dtype: DType,
    shape: &[usize],
) -> Result<Tensor, MergeError> {
    let mut result: Vec<T> = bytemuck::zeroed_vec(values.len());
    T::round(values, &mut result);
    if !T::all_finite(&result) {
        return Err(not_finite(name, dtype));
    }
    Ok(finished(result, dtype, shape))
}

/// Blocks of rows side by side; each is read, computed, rounded, looked over and written once.
fn rows<T: Rounded>(
    view: &TensorView<'_>,
    name: &str,
    terms: &[Term],
    dtype: DType,
    cancelled: &(dyn Fn() -> bool + Sync),
) -> Result<Tensor, MergeError> {
    let elements = view.bytes.len() / view.dtype.size();
    let columns =
        elements.checked_div(view.shape.first().copied().unwrap_or(0)).unwrap_or(0).max(1);
    let rows = (BLOCK / columns).max(FEWEST_ROWS);
    let mut result: Vec<T> = bytemuck::zeroed_vec(elements);
    let stopped = AtomicBool::new(false);
    let from = view.bytes.par_chunks(rows * columns * view.dtype.size());
    let blocks = from.zip(result.par_chunks_mut(rows * columns)).enumerate();
    blocks.try_for_each_init(Scratch::default, |scratch, (index, (from, to))| {
        if stopped.load(Ordering::Relaxed) || cancelled() {
            stopped.store(true, Ordering::Relaxed);
            return Err(MergeError::Cancelled);
        }
        let first = index * rows;
        let wrong = || MergeError::DType { what: name.to_owned(), found: view.dtype };
        if let Some(to) = T::as_f32(to) {
            widen(view.dtype, from, to).ok_or_else(wrong)?;
            scratch.add(to, first, columns, terms);
        } else {
            let mut values = std::mem::take(&mut scratch.values);
            values.resize(to.len(), 0.0);
            widen(view.dtype, from, &mut values).ok_or_else(wrong)?;
            scratch.add(&mut values, first, columns, terms);
            T::round(&values, to);
            scratch.values = values;
        }
        if T::all_finite(to) { Ok(()) } else { Err(not_finite(name, dtype)) }
    })?;
    Ok(finished(result, dtype, view.shape))
}

/// What a thread keeps from block to block.
#[derive(Default)]
struct Scratch {
    values: Vec<f32>,
    base: Vec<f32>,
    delta: Vec<f32>,
}

impl Scratch {
    /// Adds all terms, in order, to rows that hold the base.
    fn add(&mut self, values: &mut [f32], first: usize, columns: usize, terms: &[Term]) {
        if terms.iter().any(|term| term.magnitude.is_some()) {
            self.base.clear();
            self.base.extend_from_slice(values);
        }
        for term in terms {
            match &term.magnitude {
                None => term.multiply(first, columns, Existing::Add, values),
                Some(magnitude) => {
                    self.delta.resize(values.len(), 0.0);
                    term.multiply(first, columns, Existing::Replace, &mut self.delta);
                    self.decompose(values, &magnitude[first..], columns);
                }
            }
        }
    }

    /// DoRA as PEFT 0.21 merges it, whatever was merged before: V := m / ||W + d|| x (V + d) for each row, with W the
    /// pristine base. (`peft.tuners.lora.variants.DoraLinearVariant.merge_safe`)
    fn decompose(&self, values: &mut [f32], magnitude: &[f32], columns: usize) {
        let rows = values.chunks_exact_mut(columns).zip(magnitude);
        let changes = self.base.chunks_exact(columns).zip(self.delta.chunks_exact(columns));
        for ((row, magnitude), (base, delta)) in rows.zip(changes) {
            let square: f64 = base.iter().zip(delta).map(|(w, d)| f64::from(w + d).powi(2)).sum();
            let factor = magnitude / square.sqrt() as f32;
            row.iter_mut().zip(delta).for_each(|(value, d)| *value = factor * (*value + d));
        }
    }
}

impl Term {
    /// factor x B A, for the rows of B from `first` on.
    fn multiply(&self, first: usize, columns: usize, existing: Existing, to: &mut [f32]) {
        let rows = to.len() / columns;
        let b = &self.b[first * self.rank..(first + rows) * self.rank];
        let (b, a) = (Matrix::new(b, self.rank), Matrix::new(&self.a, columns));
        multiply(to, existing, self.factor, b, a);
    }
}

fn finished<T: Rounded>(values: Vec<T>, dtype: DType, shape: &[usize]) -> Tensor {
    Tensor::new(dtype, shape, own(values)).expect("as many values were made as the base has")
}

fn not_finite(name: &str, dtype: DType) -> MergeError {
    MergeError::NotFinite { tensor: name.to_owned(), dtype }
}

fn tensor<'a>(base: &'a Weights, name: &str) -> Result<TensorView<'a>, MergeError> {
    let missing =
        || WeightsError::NoTensor { path: base.path().to_path_buf(), tensor: name.to_owned() };
    Ok(base.get(name).ok_or_else(missing)?)
}

fn shape(name: &str, expected: Vec<usize>, view: &TensorView<'_>) -> MergeError {
    MergeError::Shape { tensor: name.to_owned(), expected, found: view.shape.to_vec() }
}
