//! Sessions over graphs whose weights are supplied, not contained.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod graphs;

use cogwheel_engine::{
    CancellationToken, EngineError, Output, Provider, Runtime, Session, SessionOptions,
};
use cogwheel_graph::{Dim, GraphBuilder};
use cogwheel_tensor::{DType, Tensor};
use graphs::{Table, inline, ramp};

/// TF32, in which CUDA may multiply, has 10 bits of mantissa; the values are below 1.
const CUDA_TOLERANCE: f32 = 1e-2;

fn options() -> SessionOptions {
    SessionOptions { provider: Provider::Cpu, threads: Some(1), ..SessionOptions::default() }
}

fn run(session: &mut Session, x: &Tensor) -> Tensor {
    let outputs = session.run(&[("x", x.into())], &CancellationToken::new()).unwrap();
    outputs.into_iter().next().unwrap().into_tensor().unwrap()
}

#[test]
fn supplied_weights_compute_to_the_bit_what_contained_ones_do() {
    let runtime = Runtime::load().unwrap();
    let (model, table) = graphs::feed_forward(32, 4);
    let x = ramp(&[7, 32], 0.7);
    for prepack in [false, true] {
        // A weight that is contained is not handed to the matrix unit.
        let options = SessionOptions { prepack, matrix_unit: false, ..options() };
        let mut supplied = Session::new(&runtime, &model, &table, &options).unwrap();
        let contained = inline(&model, &table);
        let mut contained =
            Session::new(&runtime, &contained, &Table::default(), &options).unwrap();
        let (a, b) = (run(&mut supplied, &x), run(&mut contained, &x));
        assert_eq!(a.shape(), [7, 32]);
        assert!(a.as_f32().unwrap().iter().any(|&v| v != 0.0));
        assert_eq!(a.bytes(), b.bytes(), "prepack {prepack}");
    }
}

#[test]
fn a_missing_weight_is_an_error_that_names_it() {
    let runtime = Runtime::load().unwrap();
    let (model, mut table) = graphs::feed_forward(8, 1);
    table.0.remove("layers.0.up.weight");
    let error = Session::new(&runtime, &model, &table, &options()).unwrap_err();
    assert_eq!(error.to_string(), "weight 'layers.0.up.weight': not in the table");
}

#[test]
fn a_weight_of_another_shape_is_an_error_with_both_shapes() {
    let runtime = Runtime::load().unwrap();
    let (model, mut table) = graphs::feed_forward(8, 1);
    table.0.insert("layers.0.up.bias".into(), ramp(&[8], 1.0));
    let error = Session::new(&runtime, &model, &table, &options()).unwrap_err();
    let expected = "weight 'layers.0.up.bias': expected F32 [32], found F32 [8]";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn unaligned_inputs_and_weights_are_moved_first() {
    let runtime = Runtime::load().unwrap();
    let (model, table) = graphs::feed_forward(8, 1);
    let x = ramp(&[2, 8], 0.5);
    let expected = run(&mut Session::new(&runtime, &model, &table, &options()).unwrap(), &x);
    let shifted = Table(table.0.iter().map(|(k, v)| (k.clone(), graphs::shifted(v))).collect());
    let mut session = Session::new(&runtime, &model, &shifted, &options()).unwrap();
    assert_eq!(run(&mut session, &graphs::shifted(&x)), expected);
}

#[test]
fn an_output_goes_back_in_as_an_input() {
    let runtime = Runtime::load().unwrap();
    let mut g = GraphBuilder::new("sum");
    let dims = [Dim::Free("n")];
    let x = g.input("x", DType::F32, &dims).unwrap();
    let total = g.input("total", DType::F32, &dims).unwrap();
    let sum = g.add(&x, &total).unwrap();
    g.output("sum", &sum, &dims).unwrap();
    let mut session = Session::new(&runtime, g.finish(), &Table::default(), &options()).unwrap();
    let token = CancellationToken::new();
    let x = ramp(&[3], 1.0);
    let first = session.run(&[("x", (&x).into()), ("total", (&x).into())], &token).unwrap();
    let again = session.run(&[("x", (&x).into()), ("total", (&first[0]).into())], &token).unwrap();
    assert_eq!(again[0].name(), "sum");
    let values: Vec<f32> = x.as_f32().unwrap().iter().map(|v| v * 3.0).collect();
    let tensor = again.into_iter().next().unwrap().into_tensor().unwrap();
    drop(session);
    assert_eq!(tensor.as_f32().unwrap(), values, "an output outlives its session");
}

#[test]
fn outputs_are_written_where_there_is_room_for_them() {
    let runtime = Runtime::load().unwrap();
    let mut g = GraphBuilder::new("next");
    let x = g.input("x", DType::F32, &[Dim::Free("n")]).unwrap();
    let double = g.add(&x, &x).unwrap();
    let square = g.mul(&x, &x).unwrap();
    g.output("double", &double, &[Dim::Free("n")]).unwrap();
    g.output("next", &square, &[Dim::Free("n")]).unwrap();
    let mut session = Session::new(&runtime, g.finish(), &Table::default(), &options()).unwrap();
    let token = CancellationToken::new();
    let x = ramp(&[3], 1.0);
    let room = |length| vec![Output::room("next", &[length]).unwrap()];
    let error = session.run_into(&[("x", (&x).into())], room(4), &token).unwrap_err();
    assert!(matches!(error, EngineError::Runtime { .. }), "{error}");

    let mut first = session.run_into(&[("x", (&x).into())], room(3), &token).unwrap();
    let next = first.pop().unwrap();
    let again = session.run_into(&[("x", (&first[0]).into())], vec![next], &token).unwrap();
    let names: Vec<_> = again.iter().map(|output| output.name()).collect();
    assert_eq!(names, ["double", "next"]);
    let expected: [fn(f32) -> f32; 2] = [|v| 4.0 * v, |v| 4.0 * v * v];
    for (output, expected) in again.into_iter().zip(expected) {
        let expected: Vec<f32> = x.as_f32().unwrap().iter().map(|v| expected(*v)).collect();
        assert_eq!(output.into_tensor().unwrap().as_f32().unwrap(), expected);
    }
}

#[test]
fn outputs_come_in_the_order_of_the_graph_and_time_inside_is_counted() {
    let runtime = Runtime::load().unwrap();
    let mut g = GraphBuilder::new("two");
    let x = g.input("x", DType::F32, &[Dim::Free("n")]).unwrap();
    let double = g.add(&x, &x).unwrap();
    let square = g.mul(&x, &x).unwrap();
    g.output("square", &square, &[Dim::Free("n")]).unwrap();
    g.output("double", &double, &[Dim::Free("n")]).unwrap();
    let mut session = Session::new(&runtime, g.finish(), &Table::default(), &options()).unwrap();
    assert!(session.time_inside().is_zero());
    let x = ramp(&[4], 1.0);
    let outputs = session.run(&[("x", (&x).into())], &CancellationToken::new()).unwrap();
    let names: Vec<_> = outputs.iter().map(|output| output.name()).collect();
    assert_eq!(names, ["square", "double"]);
    assert!(!session.time_inside().is_zero());
}

#[test]
fn inputs_that_do_not_fit_are_refused_and_the_session_lives_on() {
    let runtime = Runtime::load().unwrap();
    let (model, table) = graphs::feed_forward(8, 1);
    let mut session = Session::new(&runtime, &model, &table, &options()).unwrap();
    let token = CancellationToken::new();
    let wrong = ramp(&[2, 9], 1.0);
    let x = ramp(&[2, 8], 1.0);
    let error = session.run(&[("x", (&wrong).into())], &token).unwrap_err();
    assert!(matches!(error, EngineError::Runtime { .. }), "{error}");
    let error = session.run(&[("y", (&x).into())], &token).unwrap_err();
    assert!(matches!(error, EngineError::Runtime { .. }), "{error}");
    assert!(session.run(&[], &token).is_err());
    run(&mut session, &x);
}

#[test]
fn cuda_is_refused_by_name_where_there_is_none() {
    let runtime = Runtime::load().unwrap();
    let (model, table) = graphs::feed_forward(8, 1);
    let cuda = SessionOptions { provider: Provider::Cuda, ..options() };
    match Session::new(&runtime, &model, &table, &cuda) {
        Err(error) => {
            assert!(matches!(error, EngineError::Provider { provider: "cuda", .. }), "{error}");
        }
        // There is one: it computes what the CPU does.
        Ok(mut session) => {
            let x = ramp(&[2, 8], 0.5);
            let mut cpu = Session::new(&runtime, &model, &table, &options()).unwrap();
            let (found, expected) = (run(&mut session, &x), run(&mut cpu, &x));
            let pairs = found.as_f32().unwrap().into_owned().into_iter();
            for (found, expected) in pairs.zip(expected.as_f32().unwrap().iter()) {
                assert!((found - expected).abs() <= CUDA_TOLERANCE, "{found} {expected}");
            }
        }
    }
}

#[test]
fn a_supplied_convolution_computes_what_a_contained_one_does() {
    // Without prepacking, a supplied weight is invisible to the pass that lays out convolutions
    // afresh; with a placeholder of the right size it went on with zeros, and said nothing.
    let runtime = Runtime::load().unwrap();
    let (model, table) = graphs::convolution(8);
    let x = ramp(&[1, 8, 6, 6], 0.7);
    let contained = inline(&model, &table);
    let mut contained = Session::new(&runtime, &contained, &Table::default(), &options()).unwrap();
    let mut supplied = Session::new(&runtime, &model, &table, &options()).unwrap();
    assert_eq!(run(&mut supplied, &x), run(&mut contained, &x));
    let unpacked = SessionOptions { prepack: false, ..options() };
    match Session::new(&runtime, &model, &table, &unpacked) {
        Ok(mut session) => assert_eq!(run(&mut session, &x), run(&mut contained, &x)),
        Err(error) => assert!(error.to_string().starts_with("making a session: "), "{error}"),
    }
}

#[test]
fn a_prepacked_session_lets_go_of_the_weights_it_was_given() {
    let runtime = Runtime::load().unwrap();
    let (model, table) = graphs::feed_forward(32, 2);
    let x = ramp(&[3, 32], 0.7);
    for matrix_unit in [false, true] {
        let options = SessionOptions { matrix_unit, ..options() };
        let expected = run(&mut Session::new(&runtime, &model, &table, &options).unwrap(), &x);
        let (lent, memory) = graphs::lent(&table);
        let mut session = Session::new(&runtime, &model, &lent, &options).unwrap();
        drop(lent);
        for mut bytes in memory {
            let bytes = std::sync::Arc::get_mut(&mut bytes).expect("nobody holds the weights");
            bytes.fill(f32::NAN);
        }
        assert_eq!(run(&mut session, &x), expected);
    }
}

#[test]
fn a_pass_over_slices_computes_what_the_whole_does() {
    let runtime = Runtime::load().unwrap();
    let mut g = GraphBuilder::new("each");
    let dims = [Dim::Free("slices"), Dim::Free("rows"), Dim::Fixed(8)];
    let x = g.input("x", DType::F32, &dims).unwrap();
    let weight = g.weight("weight", DType::F32, &[4, 8]);
    let results = g.each(&[&x], |g, each| Ok(vec![g.linear(&each[0], &weight, None)?])).unwrap();
    g.output("y", &results[0], &[dims[0], dims[1], Dim::Fixed(4)]).unwrap();
    let model = g.finish();
    let table = Table([("weight".to_owned(), ramp(&[4, 8], 1.0))].into());
    for (prepack, matrix_unit) in [(false, false), (true, false), (true, true)] {
        let options = SessionOptions { prepack, matrix_unit, ..options() };
        let mut session = Session::new(&runtime, &model, &table, &options).unwrap();
        let sliced = run(&mut session, &ramp(&[3, 5, 8], 1.0));
        let whole = run(&mut session, &ramp(&[1, 15, 8], 1.0));
        assert_eq!(sliced.shape(), [3, 5, 4]);
        assert_eq!(sliced.bytes(), whole.bytes());
    }
}
