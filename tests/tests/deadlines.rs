//! A deadline ends the work in the stages, and the next request is served.

use std::time::Duration;

use cogwheel_tests::{Case, Chain, Journal, collect};
use tonic::{Code, Request};

// One test in this file: it reads the whole process's journal.
#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_ends_the_loop_in_the_denoiser_and_the_next_request_is_served() {
    let journal = Journal::start();
    let case = Case::read("ddim");
    let chain = Chain::start(&case.model);
    // Everything is loaded before the deadline counts.
    let first = chain.client().generate_video(case.request.clone()).await.unwrap().into_inner();
    let alone = collect(first).await.unwrap();
    let before = journal.entries().len();

    let mut long = case.request.clone();
    // Far more work than fits: a thousand steps for each of sixteen videos.
    (long.num_inference_steps, long.num_videos) = (Some(1000), Some(16));
    let mut request = Request::new(long);
    request.set_timeout(Duration::from_millis(700));
    let outcome = match chain.client().generate_video(request).await {
        Ok(response) => collect(response.into_inner()).await.map(drop),
        Err(status) => Err(status),
    };
    // tonic's own client says CANCELLED where its timer is first.
    let code = outcome.unwrap_err().code();
    assert!(matches!(code, Code::DeadlineExceeded | Code::Cancelled), "{code}");

    let next = chain.client().generate_video(case.request).await.unwrap().into_inner();
    assert_eq!(collect(next).await.unwrap().latents, alone.latents);
    chain.stop().await;
    // The denoiser took the eight steps of the last request after it had left the long one, whose
    // timesteps count down one by one.
    let entries = journal.entries().split_off(before);
    let steps: Vec<_> = entries.iter().filter_map(|entry| entry.timestep).collect();
    let (long, last) = steps.split_at(steps.len() - 8);
    assert_eq!(last, [999, 874, 749, 624, 499, 374, 249, 124]);
    assert!(long.len() < 16_000, "the long request ran to its end");
    assert!(long.windows(2).all(|pair| pair[0] - 1 == pair[1] || pair[1] == 999), "{long:?}");
}
