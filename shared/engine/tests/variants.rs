//! Variants of a session: some weights are others, all else is shared.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod graphs;

use cogwheel_engine::{
    CancellationToken, EngineError, Provider, Runtime, Session, SessionOptions, Variant,
    VariantMaker,
};
use cogwheel_graph::Model;
use cogwheel_tensor::{DType, Tensor};
use graphs::{Table, ramp};

const UP: &str = "layers.1.up.weight";
const BIAS: &str = "layers.1.up.bias";

fn options(matrix_unit: bool, prepack: bool) -> SessionOptions {
    let (provider, threads) = (Provider::Cpu, Some(1));
    let options = SessionOptions { provider, threads, prepack, matrix_unit, ..Default::default() };
    SessionOptions { variants: true, ..options }
}

/// By the matrix unit, where there is one, and by ONNX Runtime, the latter with weights that would be rearranged; and all
/// layers or some of them in bytes.
fn ways() -> [SessionOptions; 5] {
    let in_bytes = |quantize: fn(&str) -> bool| SessionOptions {
        quantize: Some(quantize),
        ..options(true, false)
    };
    [
        options(true, false),
        options(false, false),
        options(false, true),
        in_bytes(|_| true),
        in_bytes(|name| name == UP),
    ]
}

fn run(session: &mut Session, variant: Option<&Variant>, x: &Tensor) -> Tensor {
    let token = CancellationToken::new();
    let outputs = session.run_variant(variant, &[("x", x.into())], &token).unwrap();
    outputs.into_iter().next().unwrap().into_tensor().unwrap()
}

/// Of a session of its own, in which `changed` are the weights.
fn expected(
    model: &Model,
    table: &Table,
    changed: &[(&str, Tensor)],
    options: &SessionOptions,
    x: &Tensor,
) -> Tensor {
    let mut table = Table(table.0.clone());
    for (name, tensor) in changed {
        table.0.insert((*name).to_owned(), tensor.clone());
    }
    let options = SessionOptions { variants: false, prepack: false, ..options.clone() };
    run(&mut Session::new(&Runtime::load().unwrap(), model, &table, &options).unwrap(), None, x)
}

fn maker(model: &Model, options: &SessionOptions) -> VariantMaker {
    VariantMaker::of(model, options, DType::F32)
}

fn variant(maker: &VariantMaker, changed: &[(&str, Tensor)]) -> Variant {
    let mut making = maker.begin();
    for (name, tensor) in changed {
        making.add(name, tensor.clone()).unwrap();
    }
    making.finish()
}

#[test]
fn a_variant_computes_to_the_bit_what_a_session_of_its_weights_does() {
    let (model, table) = graphs::feed_forward(32, 4);
    let x = ramp(&[7, 32], 0.7);
    for options in ways() {
        let runtime = Runtime::load().unwrap();
        let mut session = Session::new(&runtime, &model, &table, &options).unwrap();
        let base = run(&mut session, None, &x);
        let changes = [
            vec![(UP, ramp(&[128, 32], 0.3))],
            vec![(BIAS, ramp(&[128], 0.9))],
            vec![(UP, ramp(&[128, 32], -0.3)), (BIAS, ramp(&[128], 0.1))],
        ];
        let maker = maker(&model, &options);
        let variants = changes.each_ref().map(|changed| variant(&maker, changed));
        // In turns, so that each follows each.
        for (changed, variant) in changes.iter().zip(&variants).chain(changes.iter().zip(&variants))
        {
            let found = run(&mut session, Some(variant), &x);
            assert_eq!(found, expected(&model, &table, changed, &options, &x), "{options:?}");
            assert_ne!(found, base);
            assert_eq!(run(&mut session, None, &x), base, "{options:?}");
        }
    }
}

#[test]
fn halves_are_taken_as_the_numbers_they_are() {
    let (model, table) = graphs::feed_forward(32, 2);
    let x = ramp(&[3, 32], 0.7);
    let values: Vec<f32> = (0..128 * 32).map(|i| (i % 17) as f32 / 16.0).collect();
    let full = Tensor::from_f32([128, 32], values.clone()).unwrap();
    let bytes: Vec<u8> =
        values.iter().flat_map(|&v| half::bf16::from_f32(v).to_le_bytes()).collect();
    let short = Tensor::new(DType::BF16, [128, 32], bytes).unwrap();
    for options in ways() {
        let mut session =
            Session::new(&Runtime::load().unwrap(), &model, &table, &options).unwrap();
        let maker = maker(&model, &options);
        let [full, short] = [&full, &short].map(|tensor| variant(&maker, &[(UP, tensor.clone())]));
        assert!(short.byte_length() <= full.byte_length());
        assert_eq!(run(&mut session, Some(&full), &x), run(&mut session, Some(&short), &x));
    }
}

#[test]
fn a_variant_takes_what_it_changes() {
    let (model, _) = graphs::feed_forward(32, 4);
    for options in ways() {
        let maker = maker(&model, &options);
        let nothing = variant(&maker, &[]);
        assert_eq!(nothing.byte_length(), 0);
        let one = variant(&maker, &[(UP, ramp(&[128, 32], 0.3))]);
        // Bytes have a scale and a sum of 4 bytes each beside them for each output.
        let (least, most) = match options.quantize {
            Some(_) => (128 * 32, 128 * 32 + 128 * 8),
            None => (4 * 128 * 32, 6 * 128 * 32),
        };
        assert!((least..=most).contains(&one.byte_length()), "{}", one.byte_length());
    }
}

#[test]
fn weights_stored_in_halves_are_changed_in_as_few_pieces() {
    let (model, table) = graphs::feed_forward(32, 2);
    let x = ramp(&[3, 32], 0.7);
    let options = options(true, false);
    let changed = [(UP, ramp(&[128, 32], 0.31))];
    let full = variant(&maker(&model, &options), &changed);
    let short = variant(&VariantMaker::of(&model, &options, DType::F16), &changed);
    let mut session = Session::new(&Runtime::load().unwrap(), &model, &table, &options).unwrap();
    let [full_y, short_y] = [&full, &short]
        .map(|variant| run(&mut session, Some(variant), &x).as_f32().unwrap().into_owned());
    // 16 bits of mantissa.
    let largest = full_y.iter().fold(0f32, |largest, y| largest.max(y.abs()));
    assert!(full_y.iter().zip(&short_y).all(|(a, b)| (a - b).abs() <= largest * 2f32.powi(-15)));
    if full.byte_length() == 6 * 128 * 32 {
        assert_eq!(short.byte_length(), 4 * 128 * 32);
    }
}

#[test]
fn what_the_graph_does_not_have_is_refused() {
    let (model, _) = graphs::feed_forward(8, 1);
    for options in ways() {
        let mut making = maker(&model, &options).begin();
        let error = making.add("layers.9.up.weight", ramp(&[32, 8], 1.0)).unwrap_err();
        assert!(matches!(error, EngineError::NoWeight { .. }), "{error}");
        let error = making.add("layers.0.up.weight", ramp(&[8, 32], 1.0)).unwrap_err();
        assert!(matches!(error, EngineError::WeightForm { .. }), "{error}");
        let integers = Tensor::from_i64([32, 8], vec![0; 256]).unwrap();
        assert!(making.add("layers.0.up.weight", integers).is_err());
    }
}

#[test]
fn a_session_made_without_variants_has_none() {
    let (model, table) = graphs::feed_forward(8, 2);
    let runtime = Runtime::load().unwrap();
    let variant = variant(&maker(&model, &ways()[0]), &[]);
    let options = SessionOptions { variants: false, ..ways()[0].clone() };
    let mut without = Session::new(&runtime, &model, &table, &options).unwrap();
    let x = ramp(&[2, 8], 1.0);
    let token = CancellationToken::new();
    let error = without.run_variant(Some(&variant), &[("x", (&x).into())], &token).unwrap_err();
    assert!(matches!(error, EngineError::NoVariants));
}
