//! A deadline holds for the whole stream, in every stage.

use std::time::Duration;

use cogwheel_tests::{Case, Chain, collect};
use tonic::{Code, Request};

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_ends_the_work_and_the_next_request_is_served() {
    let case = Case::read("ddim");
    let chain = Chain::start(&case.model);
    let mut long = case.request.clone();
    // Far more work than fits: a thousand steps for each of sixteen videos.
    (long.num_inference_steps, long.num_videos) = (Some(1000), Some(16));
    let mut request = Request::new(long);
    request.set_timeout(Duration::from_millis(500));
    let outcome = match chain.client().generate_video(request).await {
        Ok(response) => collect(response.into_inner()).await.map(drop),
        Err(status) => Err(status),
    };
    // tonic's own client says CANCELLED where its timer is first.
    let code = outcome.unwrap_err().code();
    assert!(matches!(code, Code::DeadlineExceeded | Code::Cancelled), "{code}");

    let next = chain.client().generate_video(case.request).await.unwrap().into_inner();
    assert_eq!(collect(next).await.unwrap().latents.len(), 1);
    chain.stop().await;
}
