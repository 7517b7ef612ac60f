//! The admin port: what it says from a process's first moment to its last, and whom it lets in.
#![allow(clippy::unwrap_used, reason = "a test may fail")]
#![cfg(unix)]

use std::net::TcpStream;

use cogwheel_api::generation::v1::generate_video_response::Event;
use cogwheel_api::generation::v1::{GenerateVideoRequest, GenerateVideoResponse};
use cogwheel_service::connect;
use cogwheel_tests::{
    Case, Http1Answer, Process, ServiceProcess, Stages, binary, collect, data, eventually, own_host,
};
use tonic::transport::Channel;
use tonic::{Code, Streaming};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus::{self, NotServing, Serving};
use tonic_health::pb::health_client::HealthClient;

const ADMIN: [&str; 2] = ["--admin-listen", "127.0.0.1:0"];
const MODEL: &str = "model/sincos";
const SERVICES: [(&str, &str); 3] = [
    ("cogwheel-text-encoder", "cogwheel.textencoder.v1.TextEncoderService"),
    ("cogwheel-denoiser", "cogwheel.denoiser.v1.DenoiserService"),
    ("cogwheel-vae", "cogwheel.vae.v1.VaeService"),
];

async fn health(channel: &Channel, service: &str) -> Result<ServingStatus, Code> {
    let request = HealthCheckRequest { service: service.to_owned() };
    let response = HealthClient::new(channel.clone()).check(request).await;
    response.map(|response| response.into_inner().status()).map_err(|status| status.code())
}

fn channel_to(address: &str) -> Channel {
    connect(&format!("http://{address}").parse().unwrap())
}

/// Both ports say so of each name.
async fn check_health(process: &ServiceProcess, names: &[&str], expected: ServingStatus) {
    for channel in [process.channel(), channel_to(&process.admin())] {
        for &name in names {
            assert_eq!(health(&channel, name).await, Ok(expected), "{name}");
        }
        assert_eq!(health(&channel, "live").await, Ok(Serving));
        assert_eq!(health(&channel, "model/other").await, Err(Code::NotFound));
    }
}

async fn ready(process: &ServiceProcess) {
    let admin = process.admin();
    let ready = async || (Http1Answer::get(&admin, "/ready").told().0 == 200).then_some(());
    eventually("the process is ready", ready).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stage_is_ready_when_its_weights_are_loaded_and_have_been_run() {
    for (name, service) in SERVICES {
        let stage = Stages::stage(name, &data("checkpoints/sincos"), &ADMIN);
        let admin = stage.admin();
        assert_eq!(Http1Answer::get(&admin, "/live").told(), (200, "live\n".to_owned()));
        ready(&stage).await;
        assert_eq!(Http1Answer::get(&admin, "/ready").told(), (200, "ready\n".to_owned()));
        check_health(&stage, &["", service, MODEL], Serving).await;
        stage.terminate();
        let (status, lines) = stage.finish();
        assert_eq!(status.code(), Some(0), "{lines:#?}");
        let at = |text: &str| lines.iter().position(|line| line.contains(text)).unwrap();
        assert!(at("loaded and run once") < at("\"ready\""), "{lines:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orchestrator_that_starts_first_lives_and_is_ready_when_its_stages_are() {
    let model = data("checkpoints/sincos");
    // Ports that were free a moment ago; the stages come to them later.
    let free = [(); 3].map(|()| std::net::TcpListener::bind((own_host(), 0)).unwrap());
    let addresses = free.map(|listener| listener.local_addr().unwrap().to_string());
    let urls = addresses.each_ref().map(|address| format!("http://{address}"));
    let orchestrator = Stages::orchestrator(&model, urls.each_ref().map(String::as_str), &ADMIN);
    let names = ["", "cogwheel.generation.v1.GenerationService", MODEL];
    let mut stages = Vec::new();
    for ((name, _), address) in SERVICES.iter().zip(&addresses) {
        check_health(&orchestrator, &names, NotServing).await;
        let (status, reason) = Http1Answer::get(&orchestrator.admin(), "/ready").told();
        assert_eq!((status, reason.lines().count()), (503, 1));
        assert!(reason.starts_with("orchestrator: waiting for "), "{reason}");
        assert_eq!(Http1Answer::get(&orchestrator.admin(), "/live").told().0, 200);
        stages.push(Stages::stage_on(address, name, &model, &[]));
    }
    ready(&orchestrator).await;
    check_health(&orchestrator, &names, Serving).await;
    // Peers that go away are a matter of requests.
    drop(stages);
    assert_eq!(Http1Answer::get(&orchestrator.admin(), "/live").told().0, 200);
    check_health(&orchestrator, &names, Serving).await;
}

/// A generation that samples by now.
async fn begun(stages: &Stages, steps: u32) -> Streaming<GenerateVideoResponse> {
    let num_inference_steps = Some(steps);
    let request = GenerateVideoRequest { num_inference_steps, ..Case::read("ddim").request };
    let mut stream = stages.client().generate_video(request).await.unwrap().into_inner();
    while let Some(response) = stream.message().await.unwrap() {
        if matches!(response.event, Some(Event::StepCompleted(_))) {
            return stream;
        }
    }
    panic!("the stream ended before its first step");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_drains_is_not_ready_and_answers_to_the_end() {
    let stages = Stages::start_with(&data("checkpoints/sincos"), &ADMIN);
    ready(&stages.orchestrator).await;
    let stream = begun(&stages, 300).await;
    let admin = stages.orchestrator.admin();
    let channel = channel_to(&admin);
    let watch = HealthCheckRequest::default();
    let mut watch = HealthClient::new(channel.clone()).watch(watch).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), Serving);
    stages.orchestrator.terminate();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), NotServing);
    for name in ["", "cogwheel.generation.v1.GenerationService", MODEL] {
        assert_eq!(health(&channel, name).await, Ok(NotServing), "{name}");
    }
    assert_eq!(health(&channel, "live").await, Ok(Serving));
    let told = Http1Answer::get(&admin, "/ready").told();
    assert_eq!(told, (503, "orchestrator: shutting down\n".to_owned()));
    assert_eq!(Http1Answer::get(&admin, "/live").told().0, 200);
    let video = collect(stream).await.unwrap();
    assert_eq!(video.steps().last(), Some(&(300, 300)), "what ran went on to its end");
    let (status, lines) = stages.orchestrator.finish();
    assert_eq!(status.code(), Some(0), "{lines:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_say_nothing_or_nonsense_keep_no_probe_out() {
    let stage = Stages::stage("cogwheel-vae", &data("checkpoints/sincos"), &ADMIN);
    let admin = stage.admin();
    let idle: Vec<_> = (0..300).map(|_| TcpStream::connect(&admin).unwrap()).collect();
    let mut nonsense = TcpStream::connect(&admin).unwrap();
    let _ = std::io::Write::write_all(&mut nonsense, &[0xff; 100_000]);
    assert_eq!(Http1Answer::get(&admin, "/live").told().0, 200);
    assert_eq!(health(&channel_to(&admin), "live").await, Ok(Serving));
    let long = format!("/{}", "a".repeat(100_000));
    assert_ne!(Http1Answer::get(&admin, &long).told().0, 200);
    for path in ["/", "/ready/", "/metricsx", "/cogwheel.vae.v1.VaeService/Decode"] {
        assert_eq!(Http1Answer::get(&admin, path).told().0, 404, "{path}");
    }
    drop(idle);
}

#[test]
fn an_admin_port_in_use_is_told_in_one_line_before_anything_is_loaded() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let args = ["--listen", "127.0.0.1:0", "--model", "nowhere", "--admin-listen", &address];
    let (status, _, error) = Process::start(&binary("cogwheel-vae"), &args).wait();
    assert_eq!(status.code(), Some(2), "{error}");
    assert!(error.ends_with('\n') && error.contains(&format!("cannot listen on {address}: ")));
}
