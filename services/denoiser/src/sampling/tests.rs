use std::path::Path;

use cogwheel_engine::{Provider, Runtime, SessionOptions};
use cogwheel_models::config::{SchedulerFileConfig, TransformerConfig};
use cogwheel_weights::Weights;

use super::*;

/// fp32 rounding over a whole loop: these models amplify a disturbance of 1e-6 to 1.5e-6 only.
const RELATIVE_ERROR: f64 = 5e-6;

/// A case of `tools/reference/pipeline_latents.py`.
#[derive(serde::Deserialize)]
struct Case {
    name: String,
    checkpoint: String,
    scheduler: String,
    guidance_scale: f64,
    use_dynamic_cfg: bool,
    num_inference_steps: usize,
    seed: u64,
}

fn data() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data"))
}

fn load(checkpoint: &str) -> Transformer {
    let folder = data().join("checkpoints").join(checkpoint).join("transformer");
    let config = TransformerConfig::read(&folder.join("config.json")).unwrap();
    let weights = Weights::open(&folder, "diffusion_pytorch_model").unwrap();
    let options =
        SessionOptions { provider: Provider::Cpu, threads: Some(1), ..SessionOptions::default() };
    Transformer::load(&Runtime::load().unwrap(), &config, &weights, &options).unwrap()
}

/// The request of a case, and the latents that diffusers ends with.
fn case(name: &str) -> (Transformer, SamplingRequest, Tensor) {
    let text = std::fs::read_to_string(data().join("sampling.json")).unwrap();
    let cases: Vec<Case> = serde_json::from_str(&text).unwrap();
    let case = cases.into_iter().find(|case| case.name == name).unwrap();
    let tensors = Weights::open_file(&data().join("sampling.safetensors")).unwrap();
    let tensor = |part: &str| tensors.tensor(&format!("{name}.{part}"));
    let expected = tensor("latents").unwrap();
    let scheduler = data().join("checkpoints").join(&case.checkpoint).join("scheduler");
    let scheduler = SchedulerFileConfig::read(&scheduler.join("scheduler_config.json")).unwrap();
    let request = SamplingRequest {
        shape: expected.shape().try_into().unwrap(),
        prompt_embeds: tensor("prompt_embeds").unwrap(),
        negative_prompt_embeds: Some(tensor("negative_prompt_embeds").unwrap()),
        scheduler: match case.scheduler.as_str() {
            "dpm" => SchedulerKind::Dpm,
            _ => SchedulerKind::Ddim,
        },
        scheduler_config: scheduler.config,
        num_inference_steps: case.num_inference_steps,
        guidance: Guidance::new(case.guidance_scale, case.use_dynamic_cfg),
        seed: case.seed,
        start: Start { noise: tensor("initial_latents").ok(), ..Start::default() },
        condition: None,
        storage: Storage::Fp32,
        variant: None,
    };
    (load(&case.checkpoint), request, expected)
}

fn relative_error(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let square = |x: f64| x * x;
    let error: f64 =
        found.iter().zip(expected).map(|(&a, &b)| square(f64::from(a) - f64::from(b))).sum();
    let norm: f64 = expected.iter().map(|&b| square(f64::from(b))).sum();
    (error / norm).sqrt()
}

fn check(name: &str) {
    let (mut model, request, expected) = case(name);
    let mut steps = Vec::new();
    let token = CancellationToken::new();
    let sampled =
        sample(&mut model, &request, &token, &mut |event| steps.push(event.step)).unwrap();
    let found = sampled.latents.as_f32().unwrap();
    let error = relative_error(&found, &expected.as_f32().unwrap());
    println!("{name}: relative error {error:.2e}");
    assert!(error <= RELATIVE_ERROR, "{name}: relative error {error:.2e}");
    assert_eq!(steps, (1..=request.num_inference_steps).collect::<Vec<_>>());
    assert!(sampled.inside <= sampled.total && !sampled.inside.is_zero());
}

#[test]
fn ddim_with_guidance_ends_where_diffusers_does() {
    check("2b_like");
}

#[test]
fn dpm_with_dynamic_guidance_ends_where_diffusers_does() {
    check("5b_like");
}

#[test]
fn guidance_of_one_is_off_as_in_diffusers() {
    check("guidance_off");
}

#[test]
fn dpm_at_another_size_and_steps_that_do_not_divide_1000_ends_where_diffusers_does() {
    check("rope_other_size");
}

#[test]
fn ddim_at_another_size_with_dynamic_guidance_ends_where_diffusers_does() {
    check("sincos_other_size");
}

#[test]
fn given_latents_are_the_start_and_the_noise_begins_with_the_scheduler() {
    check("given_latents");
}

#[test]
fn the_same_request_gives_the_same_latents_to_the_bit() {
    let (mut model, request, _) = case("5b_like");
    let token = CancellationToken::new();
    let mut run = || sample(&mut model, &request, &token, &mut |_| ()).unwrap().latents;
    assert_eq!(run(), run());
}

#[test]
fn a_token_fired_in_a_step_ends_the_loop_there() {
    let (mut model, request, _) = case("2b_like");
    let token = CancellationToken::new();
    let mut steps = 0;
    let error = sample(&mut model, &request, &token, &mut |event| {
        steps = event.step;
        if steps == 3 {
            token.cancel();
        }
    })
    .unwrap_err();
    assert!(error.is_cancelled(), "{error}");
    assert_eq!(steps, 3);
}

#[test]
fn a_step_that_leaves_the_range_of_numbers_is_an_error_not_a_black_video() {
    let (mut model, request, _) = case("2b_like");
    let bad = SamplingRequest { guidance: Guidance::new(1e308, false), ..request };
    let error = sample(&mut model, &bad, &CancellationToken::new(), &mut |_| ()).unwrap_err();
    assert!(matches!(error, SamplingError::Diverged { step: 1, .. }), "{error}");
}

#[test]
fn requests_that_cannot_be_sampled_are_errors() {
    let (mut model, request, _) = case("2b_like");
    let mut check = |request: &SamplingRequest, expected: &str| {
        let token = CancellationToken::new();
        let error = sample(&mut model, request, &token, &mut |_| ()).unwrap_err();
        assert_eq!(error.to_string(), expected);
    };
    let bad = SamplingRequest { negative_prompt_embeds: None, ..request.clone() };
    check(&bad, "guidance needs embeddings of a negative prompt, found none");
    let given = Tensor::from_f32([3, 4, 6, 4], vec![0.0; 288]).unwrap();
    let from = |noise| Start { noise: Some(noise), ..Start::default() };
    let bad = SamplingRequest { start: from(given), ..request.clone() };
    check(&bad, "initial latents: expected F32 [3, 4, 6, 8], found F32 [3, 4, 6, 4]");
    let mut values = vec![0.0; 576];
    values[7] = f32::NAN;
    let given = Tensor::from_f32([3, 4, 6, 8], values).unwrap();
    let bad = SamplingRequest { start: from(given), ..request.clone() };
    check(&bad, "initial latents: expected finite values, found NaN at element 7");
    let latents = Tensor::from_f32([3, 4, 6, 8], vec![0.0; 576]).unwrap();
    for strength in [0.0, 0.12, 1.01, -1.0, f64::NAN] {
        let video = Some(StartVideo { latents: latents.clone(), strength });
        let start = Start { video, ..Start::default() };
        let found = format!("at most 1 and with at least one of 8 steps, found {strength}");
        let expected = format!("expected a strength above 0, of {found}");
        check(&SamplingRequest { start, ..request.clone() }, &expected);
    }
    let condition = Some(Condition::Image(latents));
    let bad = SamplingRequest { condition, ..request.clone() };
    check(
        &bad,
        "the model takes 4 channels for 4 of latents: found some for an image or control video",
    );
    let bad = SamplingRequest { num_inference_steps: 0, ..request };
    check(&bad, "num_inference_steps must be 1 to 1000, found 0");
}
