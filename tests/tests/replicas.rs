//! Several replicas of a stage: work goes to the one that is free, and what one loses another does again.
#![allow(clippy::unwrap_used, reason = "a test may fail")]
#![cfg(unix)]

use std::collections::BTreeSet;
use std::path::PathBuf;

use cogwheel_api::generation::v1::generate_video_response::Event;
use cogwheel_api::generation::v1::generation_service_client::GenerationServiceClient;
use cogwheel_api::generation::v1::{AdapterChoice, GenerateVideoRequest, GenerateVideoResponse};
use cogwheel_api::stage::v1::stage_service_client::StageServiceClient;
use cogwheel_api::stage::v1::{WatchStatusRequest, WatchStatusResponse};
use cogwheel_tests::{
    Case, Metrics, ServiceProcess, Stages, Video, collect, data, own_host, repository,
};
use futures_util::future::join_all;
use tonic::{Code, Status, Streaming};

/// Steps that a signal comes in the midst of and that end soon.
const SHORT: u32 = 200;
/// Steps that take so long that a signal surely comes before their end.
const LONG: u32 = 1000;

fn model() -> PathBuf {
    data("checkpoints/sincos")
}

fn request(steps: u32) -> GenerateVideoRequest {
    let num_inference_steps = Some(steps);
    GenerateVideoRequest { num_inference_steps, ..Case::read("ddim").request }
}

/// A stage's two replicas beside one of each other, and an orchestrator of them.
struct Cluster {
    text_encoder: ServiceProcess,
    denoisers: [ServiceProcess; 2],
    vae: ServiceProcess,
    orchestrator: ServiceProcess,
}

impl Cluster {
    fn start(model: &std::path::Path, denoiser: &[&str], orchestrator: &[&str]) -> Self {
        let text_encoder = Stages::stage("cogwheel-text-encoder", model, &[]);
        let denoisers = [(); 2].map(|()| Stages::stage("cogwheel-denoiser", model, denoiser));
        let vae = Stages::stage("cogwheel-vae", model, &[]);
        let both = format!("{},{}", denoisers[0].url, denoisers[1].url);
        let urls = [&text_encoder.url, &both, &vae.url].map(String::as_str);
        let orchestrator = Stages::orchestrator(model, urls, orchestrator);
        for stage in [&text_encoder, &denoisers[0], &denoisers[1], &vae] {
            stage.wait_for("\"ready\"");
        }
        Self { text_encoder, denoisers, vae, orchestrator }
    }

    async fn ask(
        &self,
        request: GenerateVideoRequest,
    ) -> Result<Streaming<GenerateVideoResponse>, Status> {
        let client = GenerationServiceClient::new(self.orchestrator.channel());
        let mut client = client.max_decoding_message_size(64 << 20);
        Ok(client.generate_video(request).await?.into_inner())
    }

    async fn generate(&self, request: GenerateVideoRequest) -> Result<Video, Status> {
        collect(self.ask(request).await?).await
    }

    /// A request that has begun to sample, and which of the denoisers does it.
    async fn begun(&self, steps: u32) -> (Streaming<GenerateVideoResponse>, usize) {
        let mut stream = self.ask(request(steps)).await.unwrap();
        while let Some(response) = stream.message().await.unwrap() {
            if matches!(response.event, Some(Event::StepCompleted(_))) {
                let busy = usize::from(status_of(&self.denoisers[0]).await.admitted == 0);
                return (stream, busy);
            }
        }
        panic!("the stream ended before its first step");
    }
}

async fn status_of(stage: &ServiceProcess) -> WatchStatusResponse {
    let mut client = StageServiceClient::new(stage.channel());
    let told = client.watch_status(WatchStatusRequest {}).await.unwrap();
    told.into_inner().message().await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_denoiser_had_begun_another_does_again_to_the_same_result() {
    let admin = format!("{}:0", own_host());
    let flags = ["--stage-patience-seconds", "100", "--admin-listen", &admin];
    let mut cluster = Cluster::start(&model(), &[], &flags);
    let retries = |cluster: &Cluster| {
        let metrics = Metrics::of(&cluster.orchestrator.admin());
        metrics.sum("cogwheel_stage_retries_total", &[("stage", "denoiser")])
    };
    let whole = cluster.generate(request(LONG)).await.unwrap();
    assert_eq!(whole.notices(), [""; 0]);
    assert_eq!(retries(&cluster), 0.0);
    let (stream, busy) = cluster.begun(LONG).await;
    cluster.denoisers[busy].signal("KILL");
    let video = collect(stream).await.unwrap();
    assert!(
        video.notices()[0].starts_with("the denoiser was lost at its work, which is done again: ")
    );
    assert_eq!(retries(&cluster), 1.0);
    assert_eq!(video.latents, whole.latents);
    assert!(video.frames == whole.frames, "frames differ");
    assert_eq!(video.steps()[video.steps().len() - LONG as usize..], whole.steps());
    // Nobody waits for the one that is gone.
    for _ in 0..3 {
        let next = cluster.generate(request(2)).await.unwrap();
        assert_eq!((next.notices().len(), next.steps().len()), (0, 2));
    }
    // It is used again when it is back.
    let address = cluster.denoisers[busy].address().to_owned();
    let again = Stages::stage_on(&address, "cogwheel-denoiser", &model(), &[]);
    again.wait_for("\"ready\"");
    cluster.denoisers[busy] = again;
    cluster.denoisers[1 - busy].signal("KILL");
    cluster.generate(request(2)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denoiser_that_drains_finishes_its_work_and_gets_no_more() {
    let cluster = Cluster::start(&model(), &[], &[]);
    let (stream, busy) = cluster.begun(SHORT).await;
    cluster.denoisers[busy].terminate();
    let others = (0..4).map(|_| cluster.generate(request(2)));
    for video in join_all(others).await {
        assert_eq!(video.unwrap().notices(), [""; 0]);
    }
    // The first one was seen before.
    assert_eq!(collect(stream).await.unwrap().steps().len(), SHORT as usize - 1);
    let Cluster { denoisers, .. } = cluster;
    let drained = denoisers.into_iter().nth(busy).unwrap();
    assert_eq!(drained.wait().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn more_requests_than_the_denoisers_admit_wait_and_none_is_refused() {
    let cluster = Cluster::start(&model(), &["--queue-depth", "0"], &[]);
    let whole = cluster.generate(request(20)).await.unwrap();
    let requests = (0..8).map(|_| cluster.generate(request(20)));
    for video in join_all(requests).await {
        assert!(video.unwrap().latents == whole.latents);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stage_that_restarts_is_waited_for_with_patience() {
    let Cluster { text_encoder, denoisers, vae, orchestrator } =
        Cluster::start(&model(), &[], &["--stage-patience-seconds", "100"]);
    let address = vae.address().to_owned();
    vae.signal("KILL");
    vae.wait();
    let mut client = GenerationServiceClient::new(orchestrator.channel());
    let mut stream = client.generate_video(request(2)).await.unwrap().into_inner();
    // It comes to where the vae is wanted.
    while let Some(response) = stream.message().await.unwrap() {
        if matches!(response.event, Some(Event::StepCompleted(step)) if step.step == 2) {
            break;
        }
    }
    let vae = Stages::stage_on(&address, "cogwheel-vae", &model(), &[]);
    let video = collect(stream).await.unwrap();
    assert!(matches!(video.events.last(), Some((_, Event::VideoCompleted(_)))));
    drop((text_encoder, denoisers, vae));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_goes_where_its_variant_is() {
    let model = repository().join("demo/model");
    let folder = repository().join("demo/adapters");
    let adapters = ["--adapter-dir", folder.to_str().unwrap()];
    let cluster = Cluster::start(&model, &[], &adapters);
    let request = |name: &str| {
        let adapters = vec![AdapterChoice { name: name.to_owned(), scale: None }];
        let (prompt, steps) = ("x".to_owned(), Some(1));
        GenerateVideoRequest { prompt, adapters, num_inference_steps: steps, ..Default::default() }
    };
    // Each is made by one of them.
    let (neon, bounce) =
        tokio::join!(cluster.generate(request("neon")), cluster.generate(request("bounce")));
    assert_eq!(neon.unwrap().files.len(), bounce.unwrap().files.len());
    for name in ["neon", "bounce", "bounce", "neon", "bounce"] {
        cluster.generate(request(name)).await.unwrap();
    }
    let mut variants = Vec::new();
    for denoiser in &cluster.denoisers {
        variants.extend(status_of(denoiser).await.variants);
    }
    // One may be made twice where a replica had not told yet that it is free again; by turns both would be.
    assert!(variants.len() < 4, "{variants:?}");
    assert_eq!(variants.iter().collect::<BTreeSet<_>>().len(), 2, "{variants:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_replicas_of_a_name_are_found_and_a_name_of_nothing_is_told() {
    let stage = |name| Stages::stage_on("127.0.0.1:0", name, &model(), &[]);
    let services = ["cogwheel-text-encoder", "cogwheel-denoiser", "cogwheel-vae"];
    let stages = services.map(stage);
    let urls =
        stages.each_ref().map(|stage| stage.url.replace("http://127.0.0.1", "dns://localhost"));
    let patience = ["--stage-patience-seconds", "100"];
    let [text_encoder, denoiser, vae] = urls.each_ref().map(String::as_str);
    let orchestrator = Stages::orchestrator(&model(), [text_encoder, denoiser, vae], &patience);
    let mut client = GenerationServiceClient::new(orchestrator.channel());
    let stream = client.generate_video(request(2)).await.unwrap().into_inner();
    assert_eq!(collect(stream).await.unwrap().steps().len(), 2);

    let nobody = "dns://nobody.invalid:50051";
    let orchestrator = Stages::orchestrator(
        &model(),
        [text_encoder, nobody, vae],
        &["--stage-patience-seconds", "1"],
    );
    let mut client = GenerationServiceClient::new(orchestrator.channel());
    let stream = client.generate_video(request(2)).await.unwrap().into_inner();
    let status = collect(stream).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert_eq!(status.message(), format!("denoiser: {nobody} stands for no address"));
}
