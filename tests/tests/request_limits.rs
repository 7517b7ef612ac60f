//! What bounds requests is a setting of an orchestrator and of `cogwheel serve` alike, and is refused before any work.
#![allow(clippy::unwrap_used, reason = "a test may fail")]
#![cfg(unix)]

use cogwheel_api::generation::v1::GenerateVideoRequest;
use cogwheel_api::generation::v1::generation_service_client::GenerationServiceClient;
use cogwheel_tests::{ServiceProcess, Stages, binary, data, own_host};
use tonic::Code;
use tonic_types::StatusExt as _;

const FLAGS: [&str; 10] = [
    "--max-videos",
    "2",
    "--max-steps",
    "3",
    "--max-frames",
    "9",
    "--max-pixels",
    "1024",
    "--max-prompt-chars",
    "5",
];

async fn check(server: &ServiceProcess) {
    let mut client = GenerationServiceClient::new(server.channel());
    let request = GenerateVideoRequest {
        prompt: "a cube".to_owned(),
        num_videos: Some(3),
        num_inference_steps: Some(4),
        num_frames: Some(17),
        width: Some(32),
        height: Some(48),
        ..GenerateVideoRequest::default()
    };
    let status = client.generate_video(request).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    let violations = status.get_details_bad_request().unwrap().field_violations;
    let violations: Vec<_> =
        violations.iter().map(|v| (v.field.as_str(), v.description.as_str())).collect();
    for (field, limit) in [
        ("prompt", "5 characters"),
        ("num_videos", "2"),
        ("num_inference_steps", "3"),
        ("num_frames", "9"),
        ("height", "1024 pixels"),
    ] {
        let told = |(of, text): &(&str, &str)| *of == field && text.contains(limit);
        assert!(violations.iter().any(told), "{field} {limit} in {violations:?}");
    }
}

#[tokio::test]
async fn cogwheel_serve_holds_requests_to_its_settings() {
    let model = data("checkpoints/sincos");
    let address = format!("{}:0", own_host());
    let serve = ["serve", "--listen", &address, "--log-format", "json"];
    let model = ["--model", model.to_str().unwrap()];
    let flags = [&serve[..], &model, &FLAGS].concat();
    check(&ServiceProcess::of(&binary("cogwheel"), &flags)).await;
}

#[tokio::test]
async fn an_orchestrator_holds_requests_to_its_settings() {
    let nowhere = ["http://127.0.0.1:1"; 3];
    check(&Stages::orchestrator(&data("checkpoints/sincos"), nowhere, &FLAGS)).await;
}
