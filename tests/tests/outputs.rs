//! Kinds of result, and several videos in one request.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::io::Cursor;

use cogwheel_api::generation::v1::{GenerateVideoRequest, OutputFormat};
use cogwheel_api::tensor_message;
use cogwheel_tests::{Case, Chain, Video, collect};

async fn generate(chain: &Chain, request: &GenerateVideoRequest) -> Video {
    let stream = chain.client().generate_video(request.clone()).await.unwrap().into_inner();
    collect(stream).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_format_holds_the_frames() {
    let case = Case::read("ddim");
    let chain = Chain::start(&case.model);
    let mut request = case.request;
    request.num_inference_steps = Some(1);
    request.return_latents = false;
    let raw = generate(&chain, &request).await;
    assert_eq!(raw.frames.len(), 9 * 48 * 64 * 3);

    request.output_format = OutputFormat::Png.into();
    let pictures = generate(&chain, &request).await.files;
    let names: Vec<_> = pictures.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names[..2], ["00000.png", "00001.png"]);
    assert_eq!(names.len(), 9);
    for ((_, bytes), frame) in pictures.iter().zip(raw.frames.chunks(48 * 64 * 3)) {
        let mut decoder = png::Decoder::new(Cursor::new(bytes)).read_info().unwrap();
        let mut pixels = vec![0; decoder.output_buffer_size().unwrap()];
        decoder.next_frame(&mut pixels).unwrap();
        let expected = frame.iter().map(|value| (value * 255.0).round_ties_even() as u8);
        assert!(pixels.iter().copied().eq(expected), "a picture is not its frame");
    }

    for (format, name) in [(OutputFormat::Mp4, "video.mp4"), (OutputFormat::Gif, "video.gif")] {
        request.output_format = format.into();
        let files = generate(&chain, &request).await.files;
        let [(found, bytes)] = &files[..] else { panic!("expected one file") };
        assert_eq!(found, name);
        match format {
            OutputFormat::Gif => assert!(bytes.starts_with(b"GIF89a")),
            _ => assert_eq!(&bytes[4..8], b"ftyp"),
        }
    }
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_videos_are_those_of_seeds_that_count_up() {
    let case = Case::read("dpm");
    let chain = Chain::start(&case.model);
    let mut request = case.request;
    request.num_inference_steps = Some(2);
    request.num_videos = Some(3);
    let together = generate(&chain, &request).await;
    assert_eq!(together.latents.len(), 3);
    request.num_videos = None;
    for index in 0..3u8 {
        let seed = Some(42 + u64::from(index));
        let alone = generate(&chain, &GenerateVideoRequest { seed, ..request.clone() }).await;
        assert_eq!(alone.latents[0], together.latents[usize::from(index)]);
    }
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn given_latents_are_used_instead_of_drawn_noise() {
    let case = Case::read("ddim");
    let chain = Chain::start(&case.model);
    let mut request = case.request;
    request.num_inference_steps = Some(2);
    request.initial_latents = Some(tensor_message("latents", &case.latents));
    let [first, second] =
        [1, 2].map(|seed| GenerateVideoRequest { seed: Some(seed), ..request.clone() });
    let (first, second) = (generate(&chain, &first).await, generate(&chain, &second).await);
    // DDIM draws no noise of its own, so the seed has no say.
    assert_eq!(first.latents, second.latents);
    request.initial_latents = None;
    assert_ne!(generate(&chain, &request).await.latents, first.latents);
    chain.stop().await;
}
