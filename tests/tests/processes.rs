//! The chain as four processes: the same bytes as in one, a drain at a signal, and what is said when
//! a process cannot start or is gone.
#![allow(clippy::unwrap_used, reason = "a test may fail")]
#![cfg(unix)]

use std::error::Error as _;
use std::path::PathBuf;

use cogwheel_api::denoiser::v1::denoiser_service_client::DenoiserServiceClient;
use cogwheel_api::generation::v1::generate_video_response::Event;
use cogwheel_api::generation::v1::generation_service_client::GenerationServiceClient;
use cogwheel_api::generation::v1::{
    AdapterChoice, GenerateVideoRequest, GenerateVideoResponse, OutputFormat,
};
use cogwheel_tests::{
    Case, Chain, Process, ServiceProcess, Stages, Video, binary, collect, data, eventually,
    own_host,
};
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt as _;

/// More steps than any test waits for, a few seconds of them.
const LONG: u32 = 1000;
/// Steps that a signal comes in the midst of and that end soon.
const SHORT: u32 = 200;

fn model() -> PathBuf {
    data("checkpoints/sincos")
}

fn request(steps: u32) -> GenerateVideoRequest {
    let steps = Some(steps);
    GenerateVideoRequest { num_inference_steps: steps, ..Case::read("ddim").request }
}

/// A request that has begun to sample.
async fn begun(
    mut client: GenerationServiceClient<Channel>,
    steps: u32,
) -> Streaming<GenerateVideoResponse> {
    let mut stream = client.generate_video(request(steps)).await.unwrap().into_inner();
    while let Some(response) = stream.message().await.unwrap() {
        if matches!(response.event, Some(Event::StepCompleted(_))) {
            return stream;
        }
    }
    panic!("the stream ended before its first step");
}

async fn generate(stages: &Stages, request: GenerateVideoRequest) -> Video {
    let stream = stages.client().generate_video(request).await.unwrap().into_inner();
    collect(stream).await.unwrap()
}

/// What the orchestrator says to a request that it refuses anyway.
async fn ask_orchestrator(channel: Channel) -> Status {
    let request = GenerateVideoRequest { num_frames: Some(10), ..request(1) };
    GenerationServiceClient::new(channel).generate_video(request).await.unwrap_err()
}

/// What the denoiser says to a request that it refuses anyway.
async fn ask_denoiser(channel: Channel) -> Status {
    DenoiserServiceClient::new(channel).denoise(tokio_stream::empty()).await.unwrap_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn four_processes_make_the_same_bytes_as_one() {
    for name in ["ddim", "dpm"] {
        let case = Case::read(name);
        let stages = Stages::start(&case.model);
        let chain = Chain::start(&case.model);
        for output_format in [OutputFormat::Frames, OutputFormat::Mp4] {
            let output_format = output_format.into();
            let request = GenerateVideoRequest { output_format, ..case.request.clone() };
            let apart = generate(&stages, request.clone()).await;
            let together = chain.client().generate_video(request).await.unwrap().into_inner();
            let together = collect(together).await.unwrap();
            assert_eq!(apart.latents, together.latents, "{name}");
            let bits = |video: &Video| video.frames.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            assert!(bits(&apart) == bits(&together), "{name}: frames differ");
            assert!(apart.files == together.files, "{name}: files differ");
            assert_eq!(apart.frames.is_empty(), apart.files.len() == 1, "{name}");
        }
        chain.stop().await;
    }
}

/// A termination of the process that `of` chooses lets a generation finish.
async fn check_drain(of: fn(&Stages) -> &ServiceProcess, ask: impl AsyncFn(Channel) -> Status) {
    let stages = Stages::start(&model());
    let whole = generate(&stages, request(SHORT)).await;
    let stream = begun(stages.client(), SHORT).await;
    of(&stages).terminate();
    eventually("new calls are refused", async || {
        let status = ask(of(&stages).channel()).await;
        // A connection that was opened while the listener closed ends in one of many ways, which
        // are the transport's.
        let said = matches!(status.code(), Code::Unavailable | Code::InvalidArgument);
        assert!(said || status.source().is_some(), "{status}");
        (status.code() == Code::Unavailable).then_some(())
    })
    .await;
    let video = collect(stream).await.unwrap();
    assert_eq!(video.latents, whole.latents);
    assert!(video.frames == whole.frames, "frames differ");
    assert!(matches!(video.events.last(), Some((_, Event::VideoCompleted(_)))));
    let Stages { text_encoder, denoiser, vae, orchestrator } = stages;
    for process in [orchestrator, vae, denoiser, text_encoder] {
        process.terminate();
        let (status, lines) = process.finish();
        assert_eq!(status.code(), Some(0), "{lines:#?}");
        assert!(!lines.iter().any(|line| line.contains("\"cut\":")), "{lines:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orchestrator_that_is_terminated_finishes_what_runs_and_takes_nothing_new() {
    check_drain(|stages| &stages.orchestrator, ask_orchestrator).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denoiser_that_is_terminated_finishes_what_runs_and_takes_nothing_new() {
    check_drain(|stages| &stages.denoiser, ask_denoiser).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn work_that_outlasts_the_grace_time_is_cut_with_unavailable() {
    let stages = Stages::start_with(&model(), &["--grace-seconds", "0"]);
    let stream = begun(stages.client(), LONG).await;
    stages.denoiser.terminate();
    let status = collect(stream).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    let Stages { denoiser, orchestrator, text_encoder, vae } = stages;
    let said = format!("denoiser: {} cannot be reached", denoiser.url);
    assert!(status.message().starts_with(&said), "{status}");
    let address = denoiser.address().to_owned();
    let (exit, lines) = denoiser.finish();
    assert_eq!(exit.code(), Some(0), "{lines:#?}");
    assert!(lines.iter().any(|line| line.contains("\"cut\":1")), "{lines:#?}");

    let denoiser = Stages::stage_on(&address, "cogwheel-denoiser", &model(), &[]);
    let stages = Stages { denoiser, orchestrator, text_encoder, vae };
    let stream = begun(stages.client(), LONG).await;
    stages.orchestrator.terminate();
    let status = collect(stream).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert!(status.message().contains("shutting down"), "{status}");
    check_may_be_tried_elsewhere(&status);
    let (exit, lines) = stages.orchestrator.finish();
    assert_eq!(exit.code(), Some(0), "{lines:#?}");
}

/// A client can tell without reading the message.
fn check_may_be_tried_elsewhere(status: &Status) {
    assert_eq!(status.get_details_error_info().unwrap().reason, "DRAINING", "{status:?}");
    assert!(status.get_details_retry_info().unwrap().retry_delay.is_some(), "{status:?}");
}

#[test]
fn a_port_in_use_is_told_in_one_line_before_anything_is_loaded() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let model = model();
    let common = ["--listen", &address, "--model", model.to_str().unwrap()];
    let urls = ["--text-encoder", "--denoiser", "--vae"].map(|flag| [flag, "http://127.0.0.1:9"]);
    let services = ["cogwheel-text-encoder", "cogwheel-denoiser", "cogwheel-vae"];
    let stages = services.map(|name| (name, common.to_vec()));
    let orchestrator = [&common[..], urls.as_flattened()].concat();
    for (name, args) in stages.into_iter().chain([("cogwheel-orchestrator", orchestrator)]) {
        let (status, output, error) = Process::start(&binary(name), &args).wait();
        assert_eq!(status.code(), Some(2), "{name}: {error}");
        assert_eq!(output, "", "{name}");
        assert_eq!(error.lines().count(), 1, "{name}: {error}");
        assert!(error.starts_with(&format!("error: cannot listen on {address}: ")), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_order_of_starting_does_not_matter_and_a_stage_that_is_down_is_named() {
    let model = model();
    // Ports that were free a moment ago; the stages come to them later.
    let free = [(); 3].map(|()| std::net::TcpListener::bind((own_host(), 0)).unwrap());
    let addresses = free.map(|listener| listener.local_addr().unwrap().to_string());
    let urls = addresses.each_ref().map(|address| format!("http://{address}"));
    let orchestrator = Stages::orchestrator(&model, urls.each_ref().map(String::as_str), &[]);
    let stages = [
        ("text encoder", "cogwheel-text-encoder"),
        ("denoiser", "cogwheel-denoiser"),
        ("vae", "cogwheel-vae"),
    ];
    let mut running = Vec::new();
    for ((stage, name), address) in stages.iter().zip(&addresses) {
        check_down(&orchestrator, stage, address).await;
        running.push(Stages::stage_on(address, name, &model, &[]));
    }
    let mut client = GenerationServiceClient::new(orchestrator.channel());
    let stream = client.generate_video(request(2)).await.unwrap().into_inner();
    assert_eq!(collect(stream).await.unwrap().steps(), [(1, 2), (2, 2)]);
}

/// A generation fails because of this stage at this address, and says so.
async fn check_down(orchestrator: &ServiceProcess, stage: &str, address: &str) {
    let mut client = GenerationServiceClient::new(orchestrator.channel());
    let stream = client.generate_video(request(2)).await.unwrap().into_inner();
    let status = collect(stream).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    let said = format!("{stage}: http://{address} cannot be reached (");
    assert!(status.message().starts_with(&said), "expected '{said}' in {status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stage_that_is_killed_is_named_and_used_again_when_it_is_back() {
    let stages = Stages::start(&model());
    let stream = begun(stages.client(), LONG).await;
    stages.denoiser.signal("KILL");
    let status = collect(stream).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    let said = format!("denoiser: {} cannot be reached (", stages.denoiser.url);
    assert!(status.message().starts_with(&said), "{status}");

    let Stages { denoiser, orchestrator, text_encoder, vae } = stages;
    let address = denoiser.address().to_owned();
    assert_eq!(denoiser.wait().code(), None, "ended by a signal");
    check_down(&orchestrator, "denoiser", &address).await;
    let denoiser = Stages::stage_on(&address, "cogwheel-denoiser", &model(), &[]);
    let stages = Stages { denoiser, orchestrator, text_encoder, vae };
    assert_eq!(generate(&stages, request(2)).await.steps(), [(1, 2), (2, 2)]);
}

/// The files of adapters are the orchestrator's; a denoiser keeps them as long as it lives.
#[tokio::test(flavor = "multi_thread")]
async fn a_denoiser_that_comes_back_without_an_adapter_is_given_it_again() {
    let stage = |name| Stages::stage(name, &model(), &[]);
    let (text_encoder, vae) = (stage("cogwheel-text-encoder"), stage("cogwheel-vae"));
    let denoiser = stage("cogwheel-denoiser");
    let urls = [&text_encoder.url, &denoiser.url, &vae.url].map(String::as_str);
    let adapters = data("adapters");
    let flags = ["--adapter-dir", adapters.to_str().unwrap()];
    let orchestrator = Stages::orchestrator(&model(), urls, &flags);
    for stage in [&text_encoder, &denoiser, &vae] {
        stage.wait_for("\"ready\"");
    }
    let adapters = vec![AdapterChoice { name: "attention".to_owned(), scale: Some(0.7) }];
    let request = GenerateVideoRequest { adapters, ..request(2) };
    let stages = Stages { text_encoder, denoiser, vae, orchestrator };
    let before = generate(&stages, request.clone()).await;

    let Stages { denoiser, orchestrator, text_encoder, vae } = stages;
    let address = denoiser.address().to_owned();
    denoiser.signal("KILL");
    denoiser.wait();
    check_down(&orchestrator, "denoiser", &address).await;
    let denoiser = Stages::stage_on(&address, "cogwheel-denoiser", &model(), &[]);
    denoiser.wait_for("\"ready\"");
    let stages = Stages { denoiser, orchestrator, text_encoder, vae };
    let after = generate(&stages, request).await;
    assert_eq!(after.latents, before.latents);
    let base = generate(&stages, self::request(2)).await;
    assert_ne!(after.latents, base.latents);
}
