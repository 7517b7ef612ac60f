//! Products beside the same in fp64. Where there is no matrix unit there is nothing to test, and the tests say so.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use cogwheel_product::{Linear, MatrixUnit, PackedWeight, ProductError, Scratch, Threads};
use cogwheel_tensor::{DType, Tensor};
use half::{bf16, f16};
use proptest::prelude::*;

/// Relative errors below this are as small as fp32 can have them: one rounding of each value.
const ROUNDING: f64 = 1e-7;

fn unit() -> Option<MatrixUnit> {
    let unit = MatrixUnit::find();
    if unit.is_none() {
        println!("skipped: this processor has no matrix unit for bf16");
    }
    unit
}

struct Scoped(usize);

// SAFETY: each number is handed out once.
unsafe impl Threads for Scoped {
    fn count(&self) -> usize {
        self.0
    }

    fn each(&self, tasks: usize, work: &(dyn Fn(usize) + Sync)) {
        std::thread::scope(|scope| {
            for thread in 1..self.0 {
                scope.spawn(move || (thread..tasks).step_by(self.0).for_each(work));
            }
            (0..tasks).step_by(self.0).for_each(work);
        });
    }
}

fn random(count: usize, seed: u64) -> Vec<f32> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..count).map(|_| (random.f32() - 0.5) * 4.0).collect()
}

/// A weight, and its values as the dtype has rounded them.
fn weight(dtype: DType, shape: [usize; 2], seed: u64) -> (Tensor, Vec<f32>) {
    let values = random(shape[0] * shape[1], seed).into_iter();
    let (bytes, values): (Vec<Vec<u8>>, Vec<f32>) = match dtype {
        DType::F16 => {
            values.map(f16::from_f32).map(|v| (v.to_le_bytes().to_vec(), v.to_f32())).unzip()
        }
        DType::BF16 => {
            values.map(bf16::from_f32).map(|v| (v.to_le_bytes().to_vec(), v.to_f32())).unzip()
        }
        _ => values.map(|v| (v.to_le_bytes().to_vec(), v)).unzip(),
    };
    (Tensor::new(dtype, shape, bytes.concat()).unwrap(), values)
}

fn apply(
    unit: MatrixUnit,
    weight: &PackedWeight,
    bias: Option<&[f32]>,
    rows: usize,
    x: &[f32],
    threads: usize,
) -> Vec<f32> {
    let mut y = vec![f32::NAN; rows * weight.outputs()];
    let linear = Linear { unit, weight, bias };
    linear.apply(rows, x, &mut y, &Scoped(threads), &mut Scratch::default()).unwrap();
    y
}

/// Holds a product against the fp64 one: its error may be that of a plain fp32 sum.
fn check(unit: MatrixUnit, dtype: DType, [rows, inputs, outputs]: [usize; 3], with_bias: bool) {
    let (tensor, w) = weight(dtype, [outputs, inputs], 1);
    let x = random(rows * inputs, 2);
    let bias = with_bias.then(|| random(outputs, 3));
    let packed = PackedWeight::new(unit, &tensor).unwrap();
    let y = apply(unit, &packed, bias.as_deref(), rows, &x, 1);
    assert_eq!(apply(unit, &packed, bias.as_deref(), rows, &x, 3), y, "the threads change nothing");
    let (mut ours, mut plain, mut norm) = (0.0, 0.0, 0.0);
    for row in 0..rows {
        for column in 0..outputs {
            let start = bias.as_ref().map_or(0.0, |bias| bias[column]);
            let (mut exact, mut sum) = (f64::from(start), start);
            for (&x, &w) in x[row * inputs..][..inputs].iter().zip(&w[column * inputs..]) {
                exact += f64::from(x) * f64::from(w);
                sum += x * w;
            }
            ours += (f64::from(y[row * outputs + column]) - exact).powi(2);
            plain += (f64::from(sum) - exact).powi(2);
            norm += exact * exact;
        }
    }
    let bound = (plain.sqrt()).max(ROUNDING * norm.sqrt());
    let size = format!("{dtype} {rows} x {inputs} x {outputs}");
    assert!(ours.sqrt() <= bound, "{size}: {ours:e} beside {plain:e} of {norm:e}");
}

#[test]
fn products_of_all_kinds_are_as_exact_as_a_plain_sum() {
    let Some(unit) = unit() else { return };
    let sizes =
        [[1, 1, 1], [1, 512, 96], [16, 32, 32], [17, 64, 96], [70, 1000, 130], [600, 70, 33]];
    for dtype in [DType::F32, DType::F16, DType::BF16] {
        for size in sizes.into_iter().chain([[200, 2100, 50]]) {
            check(unit, dtype, size, true);
        }
    }
}

#[test]
fn a_weight_has_as_many_pieces_as_its_values_need() {
    let Some(unit) = unit() else { return };
    for (dtype, pieces) in [(DType::BF16, 1), (DType::F16, 2), (DType::F32, 3)] {
        let (tensor, values) = weight(dtype, [40, 70], 1);
        let packed = PackedWeight::new(unit, &tensor).unwrap();
        assert_eq!((packed.pieces(), packed.byte_length()), (pieces, 64 * 96 * 2 * pieces));
        // The values count, not how they are kept.
        let tensor = Tensor::from_f32([40, 70], values).unwrap();
        assert_eq!(PackedWeight::new(unit, &tensor).unwrap().pieces(), pieces);
    }
}

#[test]
fn values_that_are_not_finite_spoil_their_own_row_or_column_alone() {
    let Some(unit) = unit() else { return };
    let (rows, inputs, outputs) = (40, 50, 40);
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX] {
        let (tensor, mut w) = weight(DType::F32, [outputs, inputs], 1);
        let mut x = random(rows * inputs, 2);
        let clean = apply(unit, &PackedWeight::new(unit, &tensor).unwrap(), None, rows, &x, 1);
        x[33 * inputs + 7] = bad;
        w[5 * inputs + 9] = bad;
        let tensor = Tensor::from_f32([outputs, inputs], w).unwrap();
        let y = apply(unit, &PackedWeight::new(unit, &tensor).unwrap(), None, rows, &x, 1);
        for (at, (y, clean)) in y.iter().zip(&clean).enumerate() {
            if at / outputs == 33 || at % outputs == 5 {
                assert!(!y.is_finite(), "{bad}: {y} at {at}");
            } else {
                assert_eq!(y, clean, "{bad}: at {at}");
            }
        }
    }
}

#[test]
fn nothing_in_gives_nothing_out_and_no_inputs_give_the_bias() {
    let Some(unit) = unit() else { return };
    let packed = |shape: [usize; 2]| {
        PackedWeight::new(unit, &Tensor::from_f32(shape, vec![1.0; shape[0] * shape[1]]).unwrap())
    };
    assert!(apply(unit, &packed([4, 3]).unwrap(), None, 0, &[], 1).is_empty());
    assert!(apply(unit, &packed([0, 3]).unwrap(), None, 2, &[1.0; 6], 1).is_empty());
    let bias = [1.0, 2.0];
    assert_eq!(apply(unit, &packed([2, 0]).unwrap(), Some(&bias), 2, &[], 1), [1.0, 2.0, 1.0, 2.0]);
}

#[test]
fn operands_that_do_not_fit_are_errors_that_say_so() {
    let Some(unit) = unit() else { return };
    let (tensor, _) = weight(DType::F32, [4, 3], 1);
    let weight = PackedWeight::new(unit, &tensor).unwrap();
    let apply = |x: usize, y: usize, bias: usize| {
        let (x, mut y, bias) = (vec![0.0; x], vec![0.0; y], vec![0.0; bias]);
        let linear = Linear { unit, weight: &weight, bias: Some(&bias) };
        let error = linear.apply(2, &x, &mut y, &Scoped(1), &mut Scratch::default()).unwrap_err();
        error.to_string()
    };
    assert_eq!(apply(5, 8, 4), "activations: expected 6 values, found 5");
    assert_eq!(apply(6, 9, 4), "result: expected 8 values, found 9");
    assert_eq!(apply(6, 8, 3), "bias: expected 4 values, found 3");
    for (dtype, shape) in [(DType::I64, vec![4, 3]), (DType::F32, vec![12])] {
        let bytes = vec![0; shape.iter().product::<usize>() * dtype.size()];
        let tensor = Tensor::new(dtype, shape, bytes).unwrap();
        let error = PackedWeight::new(unit, &tensor).unwrap_err();
        assert!(matches!(error, ProductError::Weight { .. }), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_size_is_as_exact_as_a_plain_sum(
        dtype in prop::sample::select(vec![DType::F32, DType::F16, DType::BF16]),
        rows in 1usize..80, inputs in 1usize..200, outputs in 1usize..80, with_bias: bool,
    ) {
        if let Some(unit) = MatrixUnit::find() {
            check(unit, dtype, [rows, inputs, outputs], with_bias);
        }
    }
}
