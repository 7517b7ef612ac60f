//! A stage whose queue is full says so at once, and whoever waits in it is served when his turn comes.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use cogwheel_api::denoiser::v1::denoise_response::Event;
use cogwheel_api::denoiser::v1::denoiser_service_client::DenoiserServiceClient;
use cogwheel_api::denoiser::v1::{DenoiseResponse, Sampling};
use cogwheel_tests::calls::denoise;
use cogwheel_tests::parts::{denoise_header, denoise_request};
use cogwheel_tests::{ServiceProcess, Stages, data};
use tonic::{Code, Streaming};
use tonic_types::StatusExt as _;

/// A loop of so many steps whose first event has come.
async fn started(denoiser: &ServiceProcess, steps: u32) -> (Streaming<DenoiseResponse>, Event) {
    let mut header = denoise_header();
    header.sampling = Some(Sampling { num_inference_steps: steps, ..header.sampling.unwrap() });
    let parts = tokio_stream::iter(denoise_request(header));
    let call = DenoiserServiceClient::new(denoiser.channel()).denoise(parts).await;
    let mut stream = call.unwrap().into_inner();
    let first = stream.message().await.unwrap().unwrap();
    (stream, first.event.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_more_than_may_wait_is_refused_with_a_time_to_come_back() {
    let model = data("checkpoints/sincos");
    let denoiser = Stages::stage("cogwheel-denoiser", &model, &["--queue-depth", "1"]);
    let (running, first) = started(&denoiser, 1000).await;
    assert!(matches!(first, Event::StepCompleted(_)), "{first:?}");
    let (mut waiting, first) = started(&denoiser, 2).await;
    assert_eq!(first, Event::QueuePosition(1));

    let status = denoise(&denoiser.channel(), denoise_request(denoise_header())).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert!(status.message().starts_with("the denoiser is full: "), "{status}");
    let retry = status.get_details_retry_info().unwrap().retry_delay.unwrap();
    assert!(!retry.is_zero());

    drop(running);
    let mut steps = 0;
    while let Some(response) = waiting.message().await.unwrap() {
        steps += u32::from(matches!(response.event, Some(Event::StepCompleted(_))));
    }
    assert_eq!(steps, 2);
    assert!(denoise(&denoiser.channel(), denoise_request(denoise_header())).await.is_ok());
}
