//! Whether an adapter's numbers look as if it were meant for another scale than it would get.

use cogwheel_tensor::{DType, Tensor};

use crate::{
    Adapter, AlphaSource, Layout, Model, Target,
    merge::floats,
    product::{Existing, Matrix, multiply},
};

/// Layers looked at: enough for a median, few enough to take no time.
const SAMPLE: usize = 9;

/// The share of a weight's norm beyond which what is added cannot be meant so. Adapters that work change weights by some
/// hundredths to some tenths of their norm; trained by SAT, with a scale of 1 / rank, and given a scale of 1, they would
/// change them by many times as much.
const TOO_LARGE: f32 = 1.0;

/// Ranks beyond which an adapter is not judged: what is looked at grows with the rank's square, and a file can have any.
const LARGEST_RANK: usize = 512;

/// The median over a sample of layers of ||ratio B A|| / ||W|| (Frobenius).
pub(super) fn relative_change(targets: &[Target], model: &Model<'_>) -> Option<f32> {
    let weights = model.weights?;
    let step = targets.len().div_ceil(SAMPLE).max(1);
    let mut shares: Vec<f32> = targets
        .iter()
        .step_by(step)
        .filter_map(|target| {
            let weight =
                weights.tensor_as(&format!("{}.weight", target.module), DType::F32).ok()?;
            let base: f64 =
                weight.as_f32().ok()?.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
            let change = norm_of_product(target)? * target.ratio();
            (base > 0.0).then(|| (change / base.sqrt()) as f32)
        })
        .collect();
    shares.sort_by(f32::total_cmp);
    shares.get(shares.len() / 2).copied()
}

pub(super) fn warning(adapter: &Adapter, relative_change: Option<f32>) -> Option<String> {
    let assumed = adapter.targets.iter().any(|target| target.alpha().source == AlphaSource::Rank);
    let advice = "if SAT trained it, its scale is 1 / rank: state alpha=1";
    if !assumed {
        return None;
    }
    match relative_change {
        Some(share) if share > TOO_LARGE => Some(format!(
            "at a scale of 1 it changes weights by {share:.1} times their norm, which is hardly meant; {advice}"
        )),
        _ if adapter.layout == Layout::Sat => Some(format!("its names are SAT's; {advice}")),
        _ => None,
    }
}

/// ||B A||, of which the square is the trace of (B^T B) (A A^T): two small products instead of one large.
fn norm_of_product(target: &Target) -> Option<f64> {
    let rank = target.rank();
    if rank > LARGEST_RANK {
        return None;
    }
    let (a, b) = (matrix(&target.a)?, matrix(&target.b)?);
    let (a, b) = (Matrix::new(&a, a.len() / rank), Matrix::new(&b, rank));
    let (mut left, mut right) = (vec![0.0; rank * rank], vec![0.0; rank * rank]);
    multiply(&mut left, Existing::Replace, 1.0, b.t(), b);
    multiply(&mut right, Existing::Replace, 1.0, a, a.t());
    // Both are symmetric.
    let square: f64 = left.iter().zip(&right).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum();
    Some(square.max(0.0).sqrt())
}

fn matrix(tensor: &Tensor) -> Option<Vec<f32>> {
    floats(tensor.dtype(), tensor.bytes())
}
