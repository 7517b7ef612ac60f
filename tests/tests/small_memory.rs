//! Where memory holds one stage at a time, requests take turns and get the same videos.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use cogwheel_api::generation::v1::{GenerateVideoRequest, generate_video_response::Event};
use cogwheel_tests::{Case, Chain, Video, collect};

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
    assert_eq!((one.frames.as_slice(), &one.latents), (first.frames.as_slice(), &first.latents));
    assert_eq!((two.frames.as_slice(), &two.latents), (second.frames.as_slice(), &second.latents));
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
