//! Whole pipelines whose linear layers are computed in bytes end near those in fp32.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use cogwheel_tests::{Case, Chain, Video, collect, data, psnr, relative_error, repository};

/// Measured over 4 to 10 steps: 4e-3 to 1.1e-2 of the latents, 46 to 54 dB.
const RANDOM_WEIGHTS: (f64, f64) = (2e-2, 43.0);
/// Measured over 8 and 12 steps: 3.4e-2 and 5.6e-2 of the latents, 43 and 46 dB.
const DEMO: (f64, f64) = (0.1, 40.0);

async fn generate(case: &Case, chain: &Chain) -> Video {
    let stream = chain.client().generate_video(case.request.clone()).await.unwrap().into_inner();
    collect(stream).await.unwrap()
}

async fn check(name: &str, (most, least): (f64, f64)) {
    let case = Case::read(name);
    let adapters = match case.model.ends_with("demo/model") {
        true => repository().join("demo/adapters"),
        false => data("adapters"),
    };
    let chain = Chain::start_in_bytes(&case.model, &adapters);
    let video = generate(&case, &chain).await;
    let again = generate(&case, &chain).await;
    chain.stop().await;
    let latents = video.latents[0].as_f32().unwrap();
    let error = relative_error(&latents, &case.latents.as_f32().unwrap());
    let decibels = psnr(&video.frames, &case.frames.as_f32().unwrap());
    println!("{name}: latents {error:.1e}, frames {decibels:.1} dB");
    assert!(error > 1e-4, "{name}: computed in fp32");
    assert!(error < most, "{name}: latents differ by {error:.1e}");
    assert!(decibels > least, "{name}: frames at {decibels:.1} dB");
    assert_eq!(video.latents, again.latents, "the same request gives the same video");
}

#[tokio::test(flavor = "multi_thread")]
async fn text_to_video_in_bytes_ends_near_fp32() {
    check("ddim", RANDOM_WEIGHTS).await;
    check("dpm", RANDOM_WEIGHTS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_in_bytes_ends_near_fp32() {
    check("demo", DEMO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn images_and_patches_in_bytes_end_near_fp32() {
    check("image", RANDOM_WEIGHTS).await;
    check("patches", RANDOM_WEIGHTS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn adapters_in_bytes_are_quantized_from_what_was_merged() {
    check("lora-one", RANDOM_WEIGHTS).await;
    check("lora-several", RANDOM_WEIGHTS).await;
    check("lora-demo", DEMO).await;
}
