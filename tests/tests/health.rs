//! Health tells whether a service can work, from its real state, and reflection what it offers.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::sync::mpsc;
use std::time::Duration;

use cogwheel_api::generation::v1::generate_video_response::Event;
use cogwheel_engine::{LoadPolicy, Worker, WorkerOptions};
use cogwheel_service::{Address, Limits, Server, Shutdown, connect, memory_listener};
use cogwheel_tests::{Case, Chain, collect, eventually};
use tonic::Code;
use tonic::transport::Channel;
use tonic_health::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};

const SERVICES: [&str; 4] = [
    "cogwheel.textencoder.v1.TextEncoderService",
    "cogwheel.denoiser.v1.DenoiserService",
    "cogwheel.vae.v1.VaeService",
    "cogwheel.generation.v1.GenerationService",
];
const SERVING: i32 = ServingStatus::Serving as i32;
const NOT_SERVING: i32 = ServingStatus::NotServing as i32;

fn of(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

async fn health(channel: &Channel, service: &str) -> Result<i32, Code> {
    let response = HealthClient::new(channel.clone()).check(of(service)).await;
    response.map(|response| response.into_inner().status).map_err(|status| status.code())
}

fn channels(chain: &Chain) -> impl Iterator<Item = (&'static str, Channel)> {
    let channels = chain.stage_channels().into_iter().chain([chain.channel()]);
    SERVICES.into_iter().zip(channels)
}

#[tokio::test]
async fn a_service_serves_when_its_model_is_loaded_and_not_before() {
    let (loaded, gate) = mpsc::channel::<()>();
    let options = WorkerOptions { name: "gated".into(), queue_depth: 1, policy: LoadPolicy::Keep };
    let worker = Worker::spawn(options, move || gate.recv()).unwrap();
    let routes = tonic::service::Routes::default();
    let server = Server::new("gated", "a.Gated", routes, worker.ready());
    let (connector, listener) = memory_listener();
    let limits = Limits { max_streams: 8, grace: Duration::from_secs(30), ..Limits::DEFAULT };
    let shutdown = Shutdown::new();
    let serving = tokio::spawn({
        let shutdown = shutdown.clone();
        async move { server.serve(listener, limits, &shutdown).await }
    });

    let channel = connect(&Address::Memory(connector));
    for service in ["", "a.Gated"] {
        assert_eq!(health(&channel, service).await, Ok(NOT_SERVING));
    }
    let mut watching = HealthClient::new(channel.clone()).watch(of("")).await.unwrap().into_inner();
    let told = watching.message().await.unwrap();
    assert_eq!(told, Some(HealthCheckResponse { status: NOT_SERVING }));
    loaded.send(()).unwrap();
    let told = watching.message().await.unwrap();
    assert_eq!(told, Some(HealthCheckResponse { status: SERVING }));
    for service in ["", "a.Gated"] {
        assert_eq!(health(&channel, service).await, Ok(SERVING));
    }
    drop(watching);
    shutdown.begin();
    serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_model_that_cannot_be_loaded_never_serves_and_ends_the_server() {
    let (fail, gate) = mpsc::channel::<()>();
    let options = WorkerOptions { name: "gated".into(), queue_depth: 1, policy: LoadPolicy::Keep };
    let load = move || gate.recv().map_err(|_| "expected weights, found none");
    let worker = Worker::spawn(options, load).unwrap();
    let routes = tonic::service::Routes::default();
    let server = Server::new("gated", "a.Gated", routes, worker.ready());
    let (connector, listener) = memory_listener();
    let limits = Limits { max_streams: 8, grace: Duration::from_secs(30), ..Limits::DEFAULT };
    let serving =
        tokio::spawn(async move { server.serve(listener, limits, &Shutdown::new()).await });
    let channel = connect(&Address::Memory(connector));
    assert_eq!(health(&channel, "").await, Ok(NOT_SERVING));
    drop(fail);
    let fatal = serving.await.unwrap().unwrap_err();
    assert_eq!(fatal.message, "gated: expected weights, found none");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_service_is_told_under_its_name_and_as_a_process() {
    let chain = Chain::start(&Case::read("ddim").model);
    for (name, channel) in channels(&chain) {
        for service in ["", name] {
            let serving = async || (health(&channel, service).await == Ok(SERVING)).then_some(());
            eventually("the service serves", serving).await;
        }
        assert_eq!(health(&channel, "cogwheel.unknown.v1.Service").await, Err(Code::NotFound));
    }
    // The orchestrator has another one.
    assert_eq!(health(&chain.channel(), "cogwheel.adapter.v1.AdapterService").await, Ok(SERVING));
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_is_told_at_once_while_work_goes_on() {
    let case = Case::read("ddim");
    let chain = Chain::start(&case.model);
    let mut request = case.request;
    request.num_inference_steps = Some(200);
    let mut stream = chain.client().generate_video(request).await.unwrap().into_inner();
    loop {
        let response = stream.message().await.unwrap().unwrap();
        if matches!(response.event, Some(Event::StepCompleted(_))) {
            break;
        }
    }
    let mut watches = Vec::new();
    for service in ["", SERVICES[3]] {
        let watch = HealthClient::new(chain.channel()).watch(of(service)).await;
        let mut watch = watch.unwrap().into_inner();
        while watch.message().await.unwrap().unwrap().status != SERVING {}
        watches.push(watch);
    }
    chain.shutdown().begin();
    for watch in &mut watches {
        assert_eq!(watch.message().await.unwrap().unwrap().status, NOT_SERVING);
    }
    let video = collect(stream).await.unwrap();
    assert_eq!(video.steps().last(), Some(&(200, 200)), "the work went on to its end");
    assert!(matches!(video.events.last(), Some((_, Event::VideoCompleted(_)))));
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reflection_lists_the_services_and_knows_their_messages() {
    let chain = Chain::start(&Case::read("ddim").model);
    for (name, channel) in channels(&chain) {
        let asked = MessageRequest::ListServices(String::new());
        let MessageResponse::ListServicesResponse(list) = reflect(&channel, asked).await else {
            panic!("{name}: expected a list of services");
        };
        let listed: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
        for service in [name, "grpc.health.v1.Health"] {
            assert!(listed.contains(&service), "{service} in {listed:?}");
        }
        let asked = MessageRequest::FileContainingSymbol(name.to_owned());
        let answer = reflect(&channel, asked).await;
        assert!(matches!(answer, MessageResponse::FileDescriptorResponse(_)), "{answer:?}");
    }
    chain.stop().await;
}

async fn reflect(channel: &Channel, request: MessageRequest) -> MessageResponse {
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(request) };
    let mut client = ServerReflectionClient::new(channel.clone());
    let responses = client.server_reflection_info(tokio_stream::once(request)).await;
    let response: Option<ServerReflectionResponse> =
        responses.unwrap().into_inner().message().await.unwrap();
    response.and_then(|response| response.message_response).unwrap()
}
