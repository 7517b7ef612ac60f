//! A request that cannot be computed is refused at once, with every field that is wrong.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use cogwheel_api::denoiser::v1::Scheduler;
use cogwheel_api::generation::v1::GenerateVideoRequest;
use cogwheel_api::tensor_message;
use cogwheel_tensor::Tensor;
use cogwheel_tests::{Case, Chain};
use tonic::Code;
use tonic_types::StatusExt as _;

/// Refused with exactly these fields, each with a description that contains the text.
async fn check(chain: &Chain, request: GenerateVideoRequest, expected: &[(&str, &str)]) {
    let status = chain.client().generate_video(request).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    let violations = status.get_details_bad_request().unwrap().field_violations;
    let found: Vec<_> =
        violations.iter().map(|v| (v.field.as_str(), v.description.as_str())).collect();
    let fields: Vec<_> = found.iter().map(|(field, _)| *field).collect();
    assert_eq!(fields, expected.iter().map(|(field, _)| *field).collect::<Vec<_>>(), "{found:?}");
    for ((_, description), (field, text)) in found.iter().zip(expected) {
        assert!(description.contains(text), "{field}: expected '{text}' in '{description}'");
        assert!(status.message().contains(description), "the message tells it too");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_field_is_checked_and_says_what_is_possible() {
    let case = Case::read("ddim");
    let chain = Chain::start(&case.model);
    let valid = GenerateVideoRequest { prompt: "a cube".into(), ..Default::default() };
    let of = |change: fn(&mut GenerateVideoRequest)| {
        let mut request = valid.clone();
        change(&mut request);
        request
    };
    check(&chain, of(|r| r.num_frames = Some(10)), &[("num_frames", "possible are 9 and 17")])
        .await;
    check(&chain, of(|r| r.num_frames = Some(0)), &[("num_frames", "8n+1")]).await;
    check(&chain, of(|r| r.num_frames = Some(1)), &[("num_frames", "possible are 9")]).await;
    check(&chain, of(|r| r.width = Some(100)), &[("width", "possible are 96 and 112")]).await;
    check(&chain, of(|r| r.height = Some(7)), &[("height", "possible are 16")]).await;
    let steps = "num_inference_steps";
    check(&chain, of(|r| r.num_inference_steps = Some(0)), &[(steps, "1 to 1000, found 0")]).await;
    check(&chain, of(|r| r.num_inference_steps = Some(1001)), &[(steps, "found 1001")]).await;
    let guidance = "guidance_scale";
    check(&chain, of(|r| r.guidance_scale = Some(f64::NAN)), &[(guidance, "NaN")]).await;
    check(&chain, of(|r| r.guidance_scale = Some(f64::INFINITY)), &[(guidance, "inf")]).await;
    check(&chain, of(|r| r.fps = Some(0)), &[("fps", "expected 1 to 60")]).await;
    check(&chain, of(|r| r.fps = Some(1000)), &[("fps", "found 1000")]).await;
    check(&chain, of(|r| r.num_videos = Some(0)), &[("num_videos", "1 to 16, found 0")]).await;
    check(&chain, of(|r| r.num_videos = Some(17)), &[("num_videos", "found 17")]).await;
    check(&chain, of(|r| r.output_format = 99), &[("output_format", "99")]).await;
    check(&chain, of(|r| r.scheduler = 7), &[("scheduler", "ddim or dpm")]).await;
    let prompt = |r: &mut GenerateVideoRequest| r.prompt = "x".repeat(100_000);
    check(&chain, of(prompt), &[("prompt", "20000 characters, found 100000")]).await;
    let negative = |r: &mut GenerateVideoRequest| r.negative_prompt = "é".repeat(20_001);
    check(&chain, of(negative), &[("negative_prompt", "found 20001")]).await;
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_violations_are_told_at_once() {
    let case = Case::read("ddim");
    let chain = Chain::start(&case.model);
    let request = GenerateVideoRequest {
        prompt: "x".repeat(30_000),
        width: Some(17),
        height: Some(0),
        num_frames: Some(50),
        num_inference_steps: Some(0),
        guidance_scale: Some(f64::NAN),
        num_videos: Some(1000),
        scheduler: Scheduler::Ddim.into(),
        ..Default::default()
    };
    let expected = [
        ("prompt", "20000"),
        ("num_inference_steps", "found 0"),
        ("guidance_scale", "NaN"),
        ("num_frames", "49 and 57"),
        ("width", "16 and 32"),
        ("height", "16"),
        ("num_videos", "1000"),
    ];
    check(&chain, request, &expected).await;
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn initial_latents_of_another_shape_or_with_a_nan_are_refused() {
    let case = Case::read("ddim");
    let chain = Chain::start(&case.model);
    let given = |shape: [usize; 4], values: Vec<f32>| {
        let tensor = Tensor::from_f32(shape, values).unwrap();
        let initial_latents = Some(tensor_message("latents", &tensor));
        GenerateVideoRequest { initial_latents, ..case.request.clone() }
    };
    let request = given([3, 4, 6, 7], vec![0.0; 504]);
    let expected = "= [3, 4, 6, 8], found [3, 4, 6, 7]";
    check(&chain, request, &[("initial_latents", expected)]).await;
    let mut values = vec![0.0; 576];
    values[100] = f32::NAN;
    let request = given([3, 4, 6, 8], values);
    check(&chain, request, &[("initial_latents", "found NaN at element 100")]).await;
    let mut request = given([3, 4, 6, 8], vec![0.0; 576]);
    request.initial_latents.as_mut().unwrap().data.truncate(5);
    check(&chain, request, &[("initial_latents", "2304 bytes, found 5")]).await;
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_size_beyond_the_memory_limit_is_refused_with_need_and_limit() {
    let case = Case::read("ddim");
    let chain = Chain::start_with(&case.model, &["--memory-limit", "20000000"]);
    let fits = chain.client().generate_video(case.request.clone()).await;
    assert!(fits.is_ok(), "{fits:?}");
    let request =
        GenerateVideoRequest { width: Some(3840), height: Some(2160), ..case.request.clone() };
    check(&chain, request, &[("width", "the limit is 20.0 MB")]).await;
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_generations_than_may_wait_are_refused_with_a_time_to_come_back() {
    let case = Case::read("ddim");
    let chain = Chain::start_with(&case.model, &["--max-generations", "1"]);
    let mut long = case.request.clone();
    long.num_inference_steps = Some(1000);
    let running = chain.client().generate_video(long).await.unwrap();
    let status = chain.client().generate_video(case.request).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.get_details_retry_info().unwrap().retry_delay.is_some());
    drop(running);
    chain.stop().await;
}
