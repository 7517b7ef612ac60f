//! A variant's changed tensors, computed from the pristine base: W + sum of scale_i x delta_i in fp32, rounded once.

mod floats;
mod layer;

use std::ops::ControlFlow;

use cogwheel_tensor::{DType, Tensor};
use cogwheel_weights::{Weights, WeightsError};
pub(crate) use floats::floats;

use crate::Recipe;

/// How to merge.
#[derive(Clone, Copy, Debug)]
pub struct MergeOptions {
    /// Threads to use, at least one. They are the merge's own and end with it.
    pub threads: usize,
    /// The dtype of the result: F32, F16 or BF16.
    pub dtype: DType,
}

/// A tensor of a variant that is not the base's.
#[derive(Clone, Debug)]
pub struct ChangedTensor {
    /// Its name in the checkpoint.
    pub name: String,
    /// Its values, in the dtype asked for.
    pub tensor: Tensor,
    /// How many came before it.
    pub index: usize,
    /// How many there are in all.
    pub total: usize,
}

/// Why a variant cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// Whoever asked for it wants it no more.
    #[error("merging was cancelled")]
    Cancelled,
    /// The base lacks a tensor, or cannot be read.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The base's tensor has another shape than the adapters change.
    #[error(
        "tensor '{tensor}': expected shape {expected:?}, as the adapters have it, found {found:?}"
    )]
    Shape {
        /// The tensor.
        tensor: String,
        /// The shape that the adapters change.
        expected: Vec<usize>,
        /// The base's.
        found: Vec<usize>,
    },
    /// A tensor or the result has a dtype that is not computed.
    #[error("{what}: expected F32, F16 or BF16, found {found}")]
    DType {
        /// The tensor, or the option.
        what: String,
        /// Its dtype.
        found: DType,
    },
    /// The scales are so large that values leave the range of the precision.
    #[error(
        "tensor '{tensor}': expected finite values in {dtype} after merging, found NaN or infinity: lower the scales"
    )]
    NotFinite {
        /// The tensor.
        tensor: String,
        /// The precision.
        dtype: DType,
    },
    /// The scales are so small that rounding leaves nothing of them.
    #[error(
        "adapters: expected an effect, found that not one weight is another in {dtype} after merging: raise the scales"
    )]
    NoEffect {
        /// The precision.
        dtype: DType,
    },
    /// The threads cannot be started.
    #[error("cannot start threads to merge: {0}")]
    Threads(#[from] rayon::ThreadPoolBuildError),
}

/// Computes a variant's changed tensors one after another, in the order of their names, and hands each to `sink`, which
/// may keep it, write it or count it. Beside what `sink` keeps, memory for one tensor and one pair of matrices is taken.
/// The result is the same to the bit for any number of threads.
///
/// # Cancel safety
/// `cancelled` is asked several times a tensor, from any thread, and `sink` may break off: either ends the merge with
/// [`MergeError::Cancelled`].
///
/// # Errors
/// A [`MergeError`]; what `sink` was given before is sound.
pub fn merge(
    base: &Weights,
    recipe: &Recipe,
    options: &MergeOptions,
    cancelled: &(dyn Fn() -> bool + Sync),
    mut sink: impl FnMut(ChangedTensor) -> ControlFlow<()>,
) -> Result<(), MergeError> {
    let dtype = options.dtype;
    if !matches!(dtype, DType::F32 | DType::F16 | DType::BF16) {
        return Err(MergeError::DType { what: "precision".to_owned(), found: dtype });
    }
    let layers = recipe.layers();
    let total = recipe.changed_tensors().len();
    let threads = options.threads.max(1);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|index| format!("merge-{index}"))
        .build()?;
    let mut index = 0;
    // A DoRA's norms may leave the weights as they are; whoever scales by 0 asks for that.
    let mut is_changed = recipe.adapters().iter().all(|(_, scale)| *scale == 0.0);
    for (layer, terms) in layers {
        let mut give = |name: String, tensor: Tensor| {
            let changed = ChangedTensor { name, tensor, index, total };
            index += 1;
            if sink(changed).is_break() { Err(MergeError::Cancelled) } else { Ok(()) }
        };
        if terms.iter().any(|(target, _)| target.bias.is_some()) {
            let name = format!("{layer}.bias");
            let bias = layer::bias(base, &name, &terms, dtype)?;
            is_changed = is_changed || !layer::is_base(base, &name, &bias);
            give(name, bias)?;
        }
        let name = format!("{layer}.weight");
        let weight = pool.install(|| layer::weight(base, &name, &terms, dtype, cancelled))?;
        is_changed = is_changed || !layer::is_base(base, &name, &weight);
        give(name, weight)?;
    }
    if is_changed { Ok(()) } else { Err(MergeError::NoEffect { dtype }) }
}
