//! Linear layers by the processor's matrix unit, beside ONNX Runtime's own.
//!
//! Where there is no such unit both sides are ONNX Runtime's, and the tests say nothing.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod graphs;

use cogwheel_engine::{
    CancellationToken, Provider, Runtime, Session, SessionOptions, WeightSource,
};
use cogwheel_graph::{Dim, GraphBuilder, WeightSlot};
use cogwheel_tensor::{DType, Tensor};
use graphs::{Table, ramp};
use half::{bf16, f16};

/// Both sides round otherwise: 2^-24 of what is added up, over sums of up to a thousand.
const TOLERANCE: f64 = 1e-6;

fn options(matrix_unit: bool, threads: usize) -> SessionOptions {
    let (provider, threads) = (Provider::Cpu, Some(threads));
    SessionOptions { provider, threads, matrix_unit, ..SessionOptions::default() }
}

fn run(session: &mut Session, x: &Tensor) -> Vec<f32> {
    let outputs = session.run(&[("x", x.into())], &CancellationToken::new()).unwrap();
    let output = outputs.into_iter().next().unwrap().into_tensor().unwrap();
    output.as_f32().unwrap().into_owned()
}

/// Relative error of the whole.
fn error(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let sum = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>();
    let pairs = found.iter().zip(expected);
    let difference = sum(&mut pairs.map(|(a, b)| f64::from(*a) - f64::from(*b)));
    (difference / sum(&mut expected.iter().map(|v| f64::from(*v)))).sqrt()
}

#[test]
fn the_matrix_unit_agrees_with_onnx_runtime_whatever_the_threads() {
    let runtime = Runtime::load().unwrap();
    for (width, rows) in [(8, 1), (40, 3), (96, 70), (256, 530)] {
        let (model, table) = graphs::feed_forward(width, 3);
        let x = ramp(&[rows, width], 0.7);
        let make = |matrix_unit, threads| {
            Session::new(&runtime, &model, &table, &options(matrix_unit, threads)).unwrap()
        };
        let expected = run(&mut make(false, 1), &x);
        let mut session = make(true, 1);
        let found = run(&mut session, &x);
        let error = error(&found, &expected);
        assert!(error < TOLERANCE, "{rows} x {width}: {error}");
        assert_eq!(run(&mut session, &x), found, "the second time");
        assert_eq!(run(&mut make(true, 2), &x), found, "with two threads");
    }
}

#[test]
fn layers_in_bytes_are_a_hundredth_off_and_those_that_are_not_are_not() {
    let runtime = Runtime::load().unwrap();
    let (model, table) = graphs::feed_forward(96, 3);
    let x = ramp(&[70, 96], 0.7);
    let make = |quantize: Option<fn(&str) -> bool>, threads| {
        let options = SessionOptions { quantize, ..options(false, threads) };
        Session::new(&runtime, &model, &table, &options).unwrap()
    };
    let expected = run(&mut make(None, 1), &x);
    let mut session = make(Some(|name| name.contains("up")), 1);
    let found = run(&mut session, &x);
    let of_some = error(&found, &expected);
    let of_all = error(&run(&mut make(Some(|_| true), 1), &x), &expected);
    assert!(0.0 < of_some && of_some < of_all && of_all < 2e-2, "{of_some}, {of_all}");
    assert_eq!(run(&mut session, &x), found, "the second time");
    assert_eq!(run(&mut make(Some(|name| name.contains("up")), 2), &x), found, "with two threads");
    assert_eq!(run(&mut make(Some(|_| false), 1), &x), expected);
}

/// Weights in the dtype in which they are kept.
struct Stored(Table, DType);

impl Stored {
    fn half(&self, slot: &WeightSlot) -> Tensor {
        let values = self.0.0[&slot.name].as_f32().unwrap().into_owned();
        let values = values.into_iter();
        let bytes: Vec<u8> = match self.1 {
            DType::F16 => values.flat_map(|v| f16::from_f32(v).to_le_bytes()).collect(),
            _ => values.flat_map(|v| bf16::from_f32(v).to_le_bytes()).collect(),
        };
        Tensor::new(self.1, slot.shape.clone(), bytes).unwrap()
    }
}

impl WeightSource for Stored {
    fn weight(
        &self,
        slot: &WeightSlot,
    ) -> Result<Tensor, Box<dyn std::error::Error + Send + Sync>> {
        let half = self.half(slot);
        let values = half.bytes().chunks_exact(2).map(|bytes| match self.1 {
            DType::F16 => f16::from_le_bytes([bytes[0], bytes[1]]).to_f32(),
            _ => bf16::from_le_bytes([bytes[0], bytes[1]]).to_f32(),
        });
        Ok(Tensor::from_f32(half.shape(), values.collect())?)
    }

    fn stored(
        &self,
        slot: &WeightSlot,
    ) -> Result<Tensor, Box<dyn std::error::Error + Send + Sync>> {
        Ok(self.half(slot))
    }
}

#[test]
fn weights_kept_in_half_precision_are_taken_as_they_are() {
    let runtime = Runtime::load().unwrap();
    for dtype in [DType::F16, DType::BF16] {
        let (model, table) = graphs::feed_forward(64, 2);
        let source = Stored(table, dtype);
        let x = ramp(&[33, 64], 0.7);
        let [expected, found] = [false, true].map(|matrix_unit| {
            let options = options(matrix_unit, 1);
            run(&mut Session::new(&runtime, &model, &source, &options).unwrap(), &x)
        });
        let error = error(&found, &expected);
        assert!(error < TOLERANCE, "{dtype}: {error}");
    }
}

#[test]
fn a_linear_layer_without_rows_gives_none_and_bad_values_stay_in_their_rows() {
    let runtime = Runtime::load().unwrap();
    let (model, table) = graphs::feed_forward(40, 1);
    let mut session = Session::new(&runtime, &model, &table, &options(true, 2)).unwrap();
    assert!(run(&mut session, &ramp(&[0, 40], 1.0)).is_empty());
    let clean = ramp(&[3, 40], 1.0).as_f32().unwrap().into_owned();
    let expected = run(&mut session, &Tensor::from_f32([3, 40], clean.clone()).unwrap());
    for bad in [f32::NAN, f32::INFINITY] {
        let mut x = clean.clone();
        x[45] = bad;
        let found = run(&mut session, &Tensor::from_f32([3, 40], x).unwrap());
        assert!(!found[40..80].iter().all(|v| v.is_finite()), "{bad}");
        assert_eq!((&found[..40], &found[80..]), (&expected[..40], &expected[80..]), "{bad}");
    }
}

#[test]
fn a_bias_that_is_computed_is_added() {
    let runtime = Runtime::load().unwrap();
    let mut g = GraphBuilder::new("bias");
    let x = g.input("x", DType::F32, &[Dim::Free("n"), Dim::Fixed(40)]).unwrap();
    let weight = g.weight("weight", DType::F32, &[24, 40]);
    let bias = g.weight("bias", DType::F32, &[24]);
    let bias = g.add(&bias, &bias).unwrap();
    let y = g.linear(&x, &weight, Some(&bias)).unwrap();
    g.output("y", &y, &[Dim::Free("n"), Dim::Fixed(24)]).unwrap();
    let model = g.finish();
    let table = [("weight", ramp(&[24, 40], 1.0)), ("bias", ramp(&[24], 3.0))];
    let table = Table(table.map(|(name, tensor)| (name.to_owned(), tensor)).into());
    let [expected, found] = [false, true].map(|matrix_unit| {
        let options = SessionOptions { prepack: true, ..options(matrix_unit, 1) };
        run(&mut Session::new(&runtime, &model, &table, &options).unwrap(), &ramp(&[5, 40], 1.0))
    });
    assert!(error(&found, &expected) < TOLERANCE);
}
