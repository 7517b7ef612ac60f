//! Products in bytes beside the same in fp64.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use cogwheel_product::{ProductError, QuantizedLinear, QuantizedWeight, Scratch, Threads};
use cogwheel_tensor::{DType, Tensor};
use half::{bf16, f16};
use proptest::prelude::*;

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

fn random(count: usize, seed: u64, least: f32, most: f32) -> Vec<f32> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..count).map(|_| least + random.f32() * (most - least)).collect()
}

fn apply(
    weight: &QuantizedWeight,
    bias: Option<&[f32]>,
    rows: usize,
    x: &[f32],
    threads: usize,
) -> Vec<f32> {
    let mut y = vec![f32::NAN; rows * weight.outputs()];
    let linear = QuantizedLinear { weight, bias };
    linear.apply(rows, x, &mut y, &Scoped(threads), &mut Scratch::default()).unwrap();
    y
}

/// Holds a product against the fp64 one. Half a step of either operand times the sum of the other's magnitudes is all that
/// an element may be off, beside fp32's own rounding.
fn check([rows, inputs, outputs]: [usize; 3], x: &[f32], w: &[f32], bias: Option<&[f32]>) {
    let tensor = Tensor::from_f32([outputs, inputs], w.to_vec()).unwrap();
    let weight = QuantizedWeight::new(&tensor).unwrap();
    let y = apply(&weight, bias, rows, x, 1);
    assert_eq!(apply(&weight, bias, rows, x, 3), y, "the threads change nothing");
    let sum =
        |values: &mut dyn Iterator<Item = f32>| values.map(|v| f64::from(v.abs())).sum::<f64>();
    for (row, y) in x.chunks_exact(inputs).zip(y.chunks_exact(outputs)) {
        let (least, most) = row.iter().fold((0.0f32, 0.0f32), |(a, b), &v| (a.min(v), b.max(v)));
        // The zero is rounded too: half a step more.
        let row_step = f64::from(most - least) / 255.0;
        for (output, (w, &y)) in w.chunks_exact(inputs).zip(y).enumerate() {
            let pairs = row.iter().zip(w);
            let exact: f64 = pairs.map(|(&x, &w)| f64::from(x) * f64::from(w)).sum();
            let exact = exact + bias.map_or(0.0, |bias| f64::from(bias[output]));
            let column_step = f64::from(w.iter().fold(0.0f32, |most, v| most.max(v.abs()))) / 127.0;
            let magnitudes = sum(&mut row.iter().copied()) + row_step * inputs as f64;
            let bound = row_step * sum(&mut w.iter().copied()) + column_step / 2.0 * magnitudes;
            let rounding = 1e-5 * (exact.abs() + bound) + 1e-30;
            assert!(
                (f64::from(y) - exact).abs() <= bound + rounding,
                "{rows} x {inputs} x {outputs}, output {output}: {y}, expected {exact}, bound {bound}"
            );
        }
    }
}

#[test]
fn products_are_as_near_as_bytes_allow() {
    for size @ [rows, inputs, outputs] in [
        [1, 1, 1],
        [1, 64, 64],
        [3, 7, 5],
        [6, 96, 130],
        [70, 130, 65],
        [600, 33, 40],
        [2, 1920, 70],
    ] {
        let w = random(outputs * inputs, 1, -2.0, 2.0);
        let bias = random(outputs, 2, -1.0, 1.0);
        for (least, most) in [(-2.0, 2.0), (-0.17, 6.0), (0.5, 0.6), (-9.0, -8.0)] {
            let x = random(rows * inputs, 3, least, most);
            check(size, &x, &w, None);
            check(size, &x, &w, Some(&bias));
        }
    }
}

#[test]
fn an_outlier_costs_its_own_row_alone() {
    let (rows, inputs, outputs) = (3, 256, 64);
    let w = random(outputs * inputs, 1, -1.0, 1.0);
    let mut x = random(rows * inputs, 2, -1.0, 1.0);
    let before = {
        let tensor = Tensor::from_f32([outputs, inputs], w.clone()).unwrap();
        apply(&QuantizedWeight::new(&tensor).unwrap(), None, rows, &x, 1)
    };
    x[inputs + 7] = 1e4;
    check([rows, inputs, outputs], &x, &w, None);
    let tensor = Tensor::from_f32([outputs, inputs], w).unwrap();
    let after = apply(&QuantizedWeight::new(&tensor).unwrap(), None, rows, &x, 1);
    assert_eq!(before[..outputs], after[..outputs]);
    assert_eq!(before[2 * outputs..], after[2 * outputs..]);
}

#[test]
fn rows_and_outputs_of_nothing_give_the_bias() {
    let bias = random(70, 1, -1.0, 1.0);
    let check = |w: Vec<f32>, x: Vec<f32>| {
        let inputs = x.len();
        let tensor = Tensor::from_f32([70, inputs], w).unwrap();
        let weight = QuantizedWeight::new(&tensor).unwrap();
        assert_eq!(apply(&weight, Some(&bias), 1, &x, 1), bias);
    };
    check(random(700, 2, -1.0, 1.0), vec![0.0; 10]);
    check(vec![0.0; 700], random(10, 3, -1.0, 1.0));
    check(vec![1e-42; 700], random(10, 3, -1.0, 1.0));
    check(random(700, 2, -1.0, 1.0), vec![1e-42; 10]);
    check(Vec::new(), Vec::new());
}

#[test]
fn what_is_not_finite_stays_so_in_its_row_or_output() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let (mut w, mut x) = (random(700, 1, -1.0, 1.0), random(20, 2, -1.0, 1.0));
        x[13] = bad;
        let weight = |w: &[f32]| {
            QuantizedWeight::new(&Tensor::from_f32([70, 10], w.to_vec()).unwrap()).unwrap()
        };
        let y = apply(&weight(&w), None, 2, &x, 1);
        assert!(y[..70].iter().all(|v| v.is_finite()) && y[70..].iter().all(|v| !v.is_finite()));
        x[13] = 0.5;
        w[35] = bad;
        let y = apply(&weight(&w), None, 2, &x, 1);
        let finite = |output: usize| y[output].is_finite() && y[70 + output].is_finite();
        assert!((0..70).all(|output| finite(output) == (output != 3)), "{y:?}");
    }
}

#[test]
fn halves_are_quantized_as_what_they_stand_for() {
    let values: Vec<f16> = random(640, 1, -1.0, 1.0).into_iter().map(f16::from_f32).collect();
    let wide = |values: Vec<f32>| {
        QuantizedWeight::new(&Tensor::from_f32([64, 10], values).unwrap()).unwrap()
    };
    let x = random(30, 2, -1.0, 1.0);
    let expected = apply(&wide(values.iter().map(|v| v.to_f32()).collect()), None, 3, &x, 1);
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let tensor = Tensor::new(DType::F16, [64, 10], bytes).unwrap();
    assert_eq!(apply(&QuantizedWeight::new(&tensor).unwrap(), None, 3, &x, 1), expected);
    let values: Vec<bf16> = values.iter().map(|v| bf16::from_f32(v.to_f32())).collect();
    let expected = apply(&wide(values.iter().map(|v| v.to_f32()).collect()), None, 3, &x, 1);
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let tensor = Tensor::new(DType::BF16, [64, 10], bytes).unwrap();
    assert_eq!(apply(&QuantizedWeight::new(&tensor).unwrap(), None, 3, &x, 1), expected);
}

#[test]
fn a_parameter_takes_a_byte() {
    let weight = Tensor::from_f32([1920, 1920], vec![1.0; 1920 * 1920]).unwrap();
    let bytes = QuantizedWeight::new(&weight).unwrap().byte_length();
    assert!(bytes < 1920 * 1920 * 101 / 100, "{bytes}");
}

#[test]
fn what_cannot_be_multiplied_is_refused() {
    let refused = |tensor: &Tensor| QuantizedWeight::new(tensor).unwrap_err();
    let tensor = Tensor::from_f32([2, 2, 2], vec![0.0; 8]).unwrap();
    assert!(matches!(refused(&tensor), ProductError::Weight { .. }));
    let tensor = Tensor::new(DType::I8, [2, 2], vec![0; 4]).unwrap();
    assert!(matches!(refused(&tensor), ProductError::Weight { .. }));
    let long = QuantizedWeight::MOST_INPUTS + 1;
    let tensor = Tensor::from_f32([1, long], vec![0.0; long]).unwrap();
    assert!(matches!(refused(&tensor), ProductError::TooLarge { .. }));
    let weight = QuantizedWeight::new(&Tensor::from_f32([3, 2], vec![1.0; 6]).unwrap()).unwrap();
    let linear = QuantizedLinear { weight: &weight, bias: Some(&[0.0; 2]) };
    let mut scratch = Scratch::default();
    for (x, y) in [(vec![0.0; 3], 6), (vec![0.0; 4], 5), (vec![0.0; 4], 6)] {
        let done = linear.apply(2, &x, &mut vec![0.0; y], &Scoped(1), &mut scratch);
        assert!(matches!(done, Err(ProductError::Length { .. })));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..Default::default() })]

    #[test]
    fn products_of_any_size_are_as_near_as_bytes_allow(
        rows in 1..20usize, inputs in 1..150usize, outputs in 1..140usize, seed: u64, scale in -20..20i32,
    ) {
        let scale = 2f32.powi(scale);
        let w = random(outputs * inputs, seed, -scale, scale);
        let x = random(rows * inputs, seed ^ 1, -1.0, 3.0);
        check([rows, inputs, outputs], &x, &w, None);
    }
}
