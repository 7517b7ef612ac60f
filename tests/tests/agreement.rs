//! Whole pipelines, from prompt to frames through the four services, end where diffusers' do.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use cogwheel_tests::{Case, Chain, collect, psnr, relative_error};

/// The promise to users; a correct build is near 1e-6.
const LATENTS: f64 = 1e-4;
/// fp32 rounding over a whole pipeline: these models amplify a disturbance of 1e-6 to 1.5e-6 only.
const LATENTS_EXPECTED: f64 = 1e-5;
/// Where the state is rounded between steps, a value near the middle of two that are kept may go to either. diffusers
/// itself ends so far away when each step is disturbed by 6e-7, which is what fp32 sums in another order do: 1.0e-4 in
/// fp16, 5.8e-4 in bf16. With T5's `wo` rounded too it is 2.9e-4 in fp16.
const LATENTS_FP16: f64 = 2e-4;
const LATENTS_BF16: f64 = 1e-3;
/// The promise to users is 60 dB. Frames stored in half precision show no more than 77 dB.
const FRAMES: f64 = 75.0;
/// What 1e-3 of the latents leave.
const FRAMES_BF16: f64 = 60.0;
/// What the frames stored in single precision show of the same build.
const EXACT_FRAMES: f64 = 110.0;

async fn check(name: &str) {
    let case = Case::read(name);
    let chain = Chain::start_precision(&case.model, case.precision);
    let stream = chain.client().generate_video(case.request).await.unwrap().into_inner();
    let video = collect(stream).await.unwrap();
    chain.stop().await;

    let [latents] = &video.latents[..] else { panic!("expected one video's latents") };
    assert_eq!(latents.shape(), case.latents.shape());
    let error = relative_error(&latents.as_f32().unwrap(), &case.latents.as_f32().unwrap());
    let decibels = psnr(&video.frames, &case.frames.as_f32().unwrap());
    println!("{name}: latents {error:.1e}, frames {decibels:.1} dB");
    let (limit, expected) = match (case.precision, name) {
        ("fp16", _) => (LATENTS_FP16, FRAMES),
        ("bf16", _) => (LATENTS_BF16, FRAMES_BF16),
        (_, "ddim" | "dpm") => (LATENTS.min(LATENTS_EXPECTED), EXACT_FRAMES),
        _ => (LATENTS.min(LATENTS_EXPECTED), FRAMES),
    };
    assert!(error <= limit, "{name}: latents differ by {error:.1e}");
    assert!(decibels >= expected, "{name}: frames at {decibels:.1} dB");
}

#[tokio::test(flavor = "multi_thread")]
async fn ddim_as_2b_runs_it() {
    check("ddim").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ddim_at_another_size_and_length_and_steps_that_do_not_divide_1000() {
    check("ddim-larger").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ddim_without_guidance() {
    check("ddim-guidance-1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dpm_with_dynamic_guidance_as_5b_runs_it() {
    check("dpm").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dpm_at_another_size_and_length_with_a_seed_of_more_than_32_bits() {
    check("dpm-larger").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dpm_without_guidance() {
    check("dpm-guidance-1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_checkpoint_in_half_precision_run_in_single() {
    check("demo").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn weights_and_state_rounded_to_bf16() {
    check("storage-bf16").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn weights_and_state_rounded_to_fp16_but_for_the_text_encoders_wo() {
    check("storage-fp16").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_with_learned_positions_as_5b_i2v_runs_it() {
    check("image").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_at_another_length_where_sines_and_cosines_take_the_learned_positions_place() {
    check("image-longer").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn patches_of_two_frames_as_1_5_runs_them() {
    check("patches").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn patches_of_two_frames_at_another_size_and_length() {
    check("patches-larger").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_with_ofs_and_inverted_scaling_as_1_5_i2v_runs_it() {
    check("image15").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_video_made_of_another() {
    check("video").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_video_made_of_another_by_dpm_at_another_size_and_length() {
    check("video-larger").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_video_made_of_another_by_patches_of_two_frames_which_diffusers_cannot_pad() {
    check("video-patches").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_video_made_of_another_by_patches_at_another_size_and_length() {
    check("video-patches-larger").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_video() {
    check("control").await;
}
