//! Where memory holds one stage at a time, requests take turns and get the same videos.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use cogwheel_api::generation::v1::{GenerateVideoRequest, generate_video_response::Event};
use cogwheel_tests::{Case, Chain, Video, collect, psnr, relative_error};

/// A text encoder that is loaded for one request is not packed for the matrix unit: sums in another order.
const LATENTS: f64 = 1e-5;
const FRAMES: f64 = 110.0;

async fn generate(chain: &Chain, seed: u64) -> Video {
    let request = GenerateVideoRequest {
        seed: Some(seed),
        num_inference_steps: Some(3),
        ..Case::read("dpm").request
    };
    collect(chain.client().generate_video(request).await.unwrap().into_inner()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn generations_take_turns_and_are_told_so() {
    let model = Case::read("dpm").model;
    let resident = Chain::start(&model);
    let (first, second) = (generate(&resident, 1).await, generate(&resident, 2).await);
    resident.stop().await;

    let chain = Chain::start_one_by_one(&model);
    let (one, two) = tokio::join!(generate(&chain, 1), generate(&chain, 2));
    chain.stop().await;
    for (found, expected) in [(&one, &first), (&two, &second)] {
        let [found_latents, expected_latents] =
            [found, expected].map(|video| video.latents[0].as_f32().unwrap().into_owned());
        let error = relative_error(&found_latents, &expected_latents);
        assert!(error <= LATENTS, "latents differ by {error:.1e}");
        let decibels = psnr(&found.frames, &expected.frames);
        assert!(decibels >= FRAMES, "frames at {decibels:.1} dB");
    }
    let waited = |video: &Video| {
        let mut queued = video.events.iter().filter_map(|(_, event)| match event {
            Event::Queued(queued) => Some(queued.queue_position),
            _ => None,
        });
        queued.next()
    };
    let mut waited = [waited(&one), waited(&two)];
    waited.sort();
    assert_eq!(waited, [None, Some(1)], "one of the two came first");
}
