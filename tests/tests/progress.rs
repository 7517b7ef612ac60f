//! What a client is told while its video is made.

use cogwheel_api::generation::v1::{OutputFormat, Stage, generate_video_response::Event};
use cogwheel_tests::{Case, Chain, collect};

#[tokio::test(flavor = "multi_thread")]
async fn every_stage_step_and_chunk_is_told_once_and_in_order() {
    let case = Case::read("ddim-larger");
    let chain = Chain::start(&case.model);
    let stream = chain.client().generate_video(case.request).await.unwrap().into_inner();
    let video = collect(stream).await.unwrap();
    chain.stop().await;

    let told: Vec<String> = video
        .events
        .iter()
        .map(|(index, event)| {
            assert_eq!(*index, 0);
            match event {
                Event::Accepted(accepted) => format!("accepted, {} videos", accepted.num_videos),
                Event::StageStarted(started) => format!("{:?}", started.stage()),
                Event::StepCompleted(step) => format!("{} of {}", step.step, step.num_steps),
                Event::FramesDecoded(frames) => format!("{}/{}", frames.frames, frames.num_frames),
                Event::VideoCompleted(_) => "completed".to_owned(),
                // The config's own size is smaller.
                Event::Notice(_) => "notice".to_owned(),
                other => panic!("not expected here: {other:?}"),
            }
        })
        .collect();
    let mut expected = vec!["accepted, 1 videos".to_owned(), "notice".to_owned()];
    expected.extend([Stage::TextEncoder, Stage::Denoiser].map(|stage| format!("{stage:?}")));
    expected.extend((1..=7).map(|step| format!("{step} of 7")));
    expected.push(format!("{:?}", Stage::Vae));
    // Five latent frames: three at once, then two.
    expected.extend(["9/17", "17/17", "completed"].map(str::to_owned));
    assert_eq!(told, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn defaults_and_the_drawn_seed_are_told_and_give_the_same_video_again() {
    let case = Case::read("dpm");
    let chain = Chain::start(&case.model);
    let mut request = cogwheel_api::generation::v1::GenerateVideoRequest {
        prompt: "a cube".to_owned(),
        num_inference_steps: Some(2),
        output_format: OutputFormat::Frames.into(),
        ..Default::default()
    };
    let mut client = chain.client();
    let first = client.generate_video(request.clone()).await.unwrap().into_inner();
    let first = collect(first).await.unwrap();
    let Some((_, Event::Accepted(accepted))) = first.events.first() else { panic!("no accepted") };
    let (size, sampling) = (accepted.size.unwrap(), accepted.sampling.unwrap());
    assert_eq!((size.width, size.height, size.num_frames, accepted.fps), (64, 48, 9, 8));
    assert_eq!((sampling.guidance_scale, sampling.dynamic_cfg), (6.0, true));
    assert_eq!(sampling.scheduler(), cogwheel_api::denoiser::v1::Scheduler::Dpm);

    request.seed = Some(sampling.seed);
    let again = client.generate_video(request).await.unwrap().into_inner();
    assert_eq!(collect(again).await.unwrap().frames, first.frames);
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_that_is_cut_is_told_with_its_length() {
    let case = Case::read("ddim");
    let chain = Chain::start(&case.model);
    let mut request = case.request;
    request.prompt = "a red circle moving left and up and down under the rain at dawn ".repeat(4);
    request.num_inference_steps = Some(1);
    let stream = chain.client().generate_video(request).await.unwrap().into_inner();
    let video = collect(stream).await.unwrap();
    chain.stop().await;
    let [notice] = video.notices()[..] else {
        panic!("expected one notice: {:?}", video.notices())
    };
    assert!(notice.starts_with("the prompt takes "), "{notice}");
    assert!(notice.contains("the model 16"), "{notice}");
}
