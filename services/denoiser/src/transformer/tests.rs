use std::path::Path;

use cogwheel_engine::Provider;
use cogwheel_weights::Weights;

use super::*;

/// Rounding of fp32 alone: sums are taken in another order than torch takes them.
const RELATIVE_ERROR: f64 = 2e-6;

fn data() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data"))
}

fn load(checkpoint: &str, options: SessionOptions) -> Transformer {
    load_in(form(&options), checkpoint, options)
}

fn load_in(form: Form, checkpoint: &str, options: SessionOptions) -> Transformer {
    let folder = data().join("checkpoints").join(checkpoint).join("transformer");
    let config = TransformerConfig::read(&folder.join("config.json")).unwrap();
    let weights = Weights::open(&folder, "diffusion_pytorch_model").unwrap();
    let runtime = Runtime::load().unwrap();
    Transformer::load_in(form, &runtime, &config, &weights, &options).unwrap()
}

fn options() -> SessionOptions {
    SessionOptions { provider: Provider::Cpu, threads: Some(1), ..SessionOptions::default() }
}

fn reference() -> Weights {
    Weights::open_file(&data().join("transformer.safetensors")).unwrap()
}

fn relative_error(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let square = |x: f64| x * x;
    let error: f64 =
        found.iter().zip(expected).map(|(&a, &b)| square(f64::from(a) - f64::from(b))).sum();
    let norm: f64 = expected.iter().map(|&b| square(f64::from(b))).sum();
    (error / norm).sqrt()
}

/// Runs a case of `tools/reference/transformer.py`.
fn check(checkpoint: &str, size: &str, options: SessionOptions) {
    check_model(load(checkpoint, options), checkpoint, size, RELATIVE_ERROR);
}

fn check_model(mut model: Transformer, checkpoint: &str, size: &str, tolerance: f64) {
    let reference = reference();
    let tensor = |name: &str| reference.tensor(&format!("{checkpoint}.{size}.{name}")).unwrap();
    let latents = tensor("latents");
    let shape: [usize; 4] = latents.shape().try_into().unwrap();
    let timestep = tensor("timestep").as_f32().unwrap()[0] as i64;
    let conditions = model.conditions(shape, tensor("text")).unwrap();
    let token = CancellationToken::new();
    let found = model.forward(&conditions, &latents.as_f32().unwrap(), timestep, &token).unwrap();
    let expected = tensor("prediction");
    assert_eq!(found.shape(), expected.shape());
    let error = relative_error(&found.as_f32().unwrap(), &expected.as_f32().unwrap());
    println!("{checkpoint} {size}: relative error {error:.2e}");
    assert!(error <= tolerance, "{checkpoint} {size}: relative error {error:.2e}");
}

/// Of the graph that GPUs compute, on the CPU.
fn check_whole(dtype: DType, tolerance: f64) {
    let cases = [
        ("sincos", "configured"),
        ("sincos", "large"),
        ("rope", "other"),
        ("image", "configured"),
        ("patches", "configured"),
        ("image15", "other"),
    ];
    for (checkpoint, size) in cases {
        let form = Form { dtype, layout: TokenLayout::Whole };
        check_model(load_in(form, checkpoint, options()), checkpoint, size, tolerance);
    }
}

#[test]
fn all_tokens_at_once_are_predicted_as_diffusers_does() {
    check_whole(DType::F32, RELATIVE_ERROR);
}

/// Rounding to 11 bits of mantissa after each operator, of which there are some dozens one behind the other.
const HALF_RELATIVE_ERROR: f64 = 4e-3;

#[test]
fn half_precision_is_near_fp32_of_diffusers() {
    check_whole(DType::F16, HALF_RELATIVE_ERROR);
}

#[test]
fn variants_of_all_tokens_at_once_share_the_models_weights() {
    let form = Form { dtype: DType::F32, layout: TokenLayout::Whole };
    let options = SessionOptions { variants: true, matrix_unit: false, ..options() };
    let mut model = load_in(form, "rope", options.clone());
    let maker = VariantMaker::of(&transformer(model.config(), form).unwrap(), &options, DType::F32);
    let folder = data().join("checkpoints/rope/transformer");
    let weights = Weights::open(&folder, "diffusion_pytorch_model").unwrap();
    let name = "transformer_blocks.0.attn1.to_v.weight";
    let stored = weights.tensor(name).unwrap().widened().unwrap();
    let scaled = stored.as_f32().unwrap().iter().map(|value| value * 1.5).collect();
    let scaled = Tensor::from_f32(stored.shape(), scaled).unwrap();
    let reference = reference();
    let tensor = |name: &str| reference.tensor(&format!("rope.configured.{name}")).unwrap();
    let latents = tensor("latents");
    let shape: [usize; 4] = latents.shape().try_into().unwrap();
    let mut predicted = |changed: Option<&Tensor>| {
        let variant = changed.map(|changed| {
            let mut making = maker.begin();
            making.add(name, changed.clone()).unwrap();
            making.finish()
        });
        let conditions = model.conditions(shape, tensor("text")).unwrap().of_variant(variant);
        let (latents, token) = (latents.as_f32().unwrap(), CancellationToken::new());
        model.forward(&conditions, &latents, 999, &token).unwrap()
    };
    let base = predicted(None);
    assert_eq!(predicted(Some(&stored)), base);
    assert_ne!(predicted(Some(&scaled)), base);
    assert_eq!(predicted(None), base);
}

#[test]
fn sincos_forward_equals_diffusers() {
    check("sincos", "configured", options());
}

#[test]
fn sincos_forward_equals_diffusers_at_another_size() {
    check("sincos", "other", options());
}

#[test]
fn rope_forward_equals_diffusers() {
    check("rope", "configured", options());
}

#[test]
fn rope_forward_equals_diffusers_at_another_size() {
    check("rope", "other", options());
}

#[test]
fn a_learned_position_table_is_added_at_its_size_and_sines_and_cosines_at_other_lengths() {
    check("image", "configured", options());
    check("image", "longer", options());
}

#[test]
fn patches_of_two_frames_are_predicted_as_diffusers_does() {
    check("patches", "configured", options());
    check("patches", "other", options());
}

#[test]
fn ofs_is_added_to_the_timestep() {
    check("image15", "configured", options());
    check("image15", "other", options());
}

#[test]
fn a_learned_table_is_refused_at_another_height_or_width() {
    let model = load("image", options());
    let text = Tensor::from_f32([1, 16, 24], vec![0.0; 16 * 24]).unwrap();
    let error = model.conditions([3, 8, 8, 6], text).unwrap_err();
    let expected =
        "tokens of a frame, whose positions are learned: expected shape [3, 4], found [4, 3]";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn tokens_of_many_chunks_are_predicted_as_diffusers_does() {
    check("sincos", "large", options());
    check("rope", "large", options());
}

#[test]
fn weights_read_where_they_lie_give_the_same_forward() {
    for checkpoint in ["sincos", "rope"] {
        let options = SessionOptions { prepack: false, matrix_unit: false, ..options() };
        check(checkpoint, "configured", options);
    }
}

#[test]
fn without_the_matrix_unit_the_forward_is_the_same() {
    for checkpoint in ["sincos", "rope"] {
        check(checkpoint, "large", SessionOptions { matrix_unit: false, ..options() });
    }
}

#[test]
fn one_prompt_alone_is_predicted_as_within_a_batch() {
    let mut model = load("rope", options());
    let reference = reference();
    let tensor = |name: &str| reference.tensor(&format!("rope.configured.{name}")).unwrap();
    let (latents, text) = (tensor("latents"), tensor("text"));
    let shape: [usize; 4] = latents.shape().try_into().unwrap();
    let half = text.bytes().len() / 2;
    let second =
        Tensor::new(DType::F32, [1, text.shape()[1], text.shape()[2]], text.bytes().slice(half..))
            .unwrap();
    let conditions = model.conditions(shape, second).unwrap();
    let token = CancellationToken::new();
    let found = model.forward(&conditions, &latents.as_f32().unwrap(), 999, &token).unwrap();
    let expected = tensor("prediction");
    let expected = expected.as_f32().unwrap();
    let error = relative_error(&found.as_f32().unwrap(), &expected[expected.len() / 2..]);
    assert!(error <= RELATIVE_ERROR, "relative error {error:.2e}");
}

#[test]
fn operands_that_do_not_fit_are_errors() {
    let mut model = load("sincos", options());
    let text =
        |shape: [usize; 3]| Tensor::from_f32(shape, vec![0.0; shape.iter().product()]).unwrap();
    let check = |result: Result<Conditions, ForwardError>, expected: &str| {
        assert_eq!(result.unwrap_err().to_string(), expected);
    };
    check(
        model.conditions([3, 4, 5, 8], text([2, 16, 24])),
        "latents: expected shape [1n, 4, 2n, 2n], found [3, 4, 5, 8]",
    );
    check(
        model.conditions([3, 4, 6, 8], text([2, 15, 24])),
        "prompt embeddings: expected shape [prompts, 16, 24], found [2, 15, 24]",
    );
    let conditions = model.conditions([3, 4, 6, 8], text([2, 16, 24])).unwrap();
    let token = CancellationToken::new();
    let error = model.forward(&conditions, &[0.0; 5], 999, &token).unwrap_err();
    assert_eq!(error.to_string(), "latents: expected shape [3, 4, 6, 8], found [5]");
    token.cancel();
    let latents = vec![0.0; 3 * 4 * 6 * 8];
    let error = model.forward(&conditions, &latents, 999, &token).unwrap_err();
    assert!(matches!(error, ForwardError::Engine(EngineError::Cancelled)), "{error}");
}

#[test]
fn every_family_can_be_run_once_with_the_least_there_is() {
    for checkpoint in ["sincos", "rope", "patches", "image", "image15", "control"] {
        let mut model = load(checkpoint, options());
        model.warm_up().unwrap_or_else(|error| panic!("{checkpoint}: {error}"));
        assert!(model.time_inside() > Duration::ZERO, "{checkpoint}");
    }
}
