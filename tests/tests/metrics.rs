//! The metrics of four processes: what is exported is what is documented, and it counts what happened.
#![allow(clippy::unwrap_used, reason = "a test may fail")]
#![cfg(unix)]

use std::collections::BTreeSet;

use cogwheel_api::generation::v1::{AdapterChoice, GenerateVideoRequest};
use cogwheel_service::metrics::entries;
use cogwheel_tests::{Case, Metrics, Stages, collect, data, eventually};
use tonic::Code;
use tonic::codegen::http::uri::PathAndQuery;

const ADMIN: [&str; 2] = ["--admin-listen", "127.0.0.1:0"];
const SECRETS: [&str; 2] = ["qzxprompt", "qzxnegative"];
const STEPS: u32 = 3;

fn start() -> Stages {
    let adapters = data("adapters");
    let stage = |name| Stages::stage(name, &data("checkpoints/sincos"), &ADMIN);
    let (text_encoder, denoiser) = (stage("cogwheel-text-encoder"), stage("cogwheel-denoiser"));
    let vae = stage("cogwheel-vae");
    let urls = [&text_encoder.url, &denoiser.url, &vae.url].map(String::as_str);
    let flags = [&ADMIN[..], &["--adapter-dir", adapters.to_str().unwrap()]].concat();
    let orchestrator = Stages::orchestrator(&data("checkpoints/sincos"), urls, &flags);
    for process in [&text_encoder, &denoiser, &vae, &orchestrator] {
        process.wait_for("\"ready\"");
    }
    Stages { text_encoder, denoiser, vae, orchestrator }
}

fn request(steps: u32) -> GenerateVideoRequest {
    GenerateVideoRequest {
        prompt: SECRETS[0].to_owned(),
        negative_prompt: SECRETS[1].to_owned(),
        num_inference_steps: Some(steps),
        adapters: vec![AdapterChoice { name: "attention".to_owned(), scale: Some(0.7) }],
        ..Case::read("ddim").request
    }
}

/// Of text encoder, denoiser, vae and orchestrator.
fn scrape(stages: &Stages) -> [Metrics; 4] {
    let Stages { text_encoder, denoiser, vae, orchestrator } = stages;
    [text_encoder, denoiser, vae, orchestrator].map(|process| Metrics::of(&process.admin()))
}

async fn generate(stages: &Stages) {
    let stream = stages.client().generate_video(request(STEPS)).await.unwrap().into_inner();
    collect(stream).await.unwrap();
    // Its last byte is down before it is counted.
    let method = ("method", "GenerationService/GenerateVideo");
    let counted = async || {
        let metrics = Metrics::of(&stages.orchestrator.admin());
        let running = metrics.sum("cogwheel_requests_in_flight", &[]);
        (running == 0.0 && metrics.sum("cogwheel_requests_total", &[method]) > 0.0).then_some(())
    };
    eventually("the generation is counted", counted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_exported_is_what_is_documented() {
    let stages = start();
    generate(&stages).await;
    let scraped = scrape(&stages);
    let mut exported = BTreeSet::new();
    for metrics in &scraped {
        for (name, kind) in &metrics.kinds {
            let entry = entries().iter().find(|entry| entry.name == *name);
            let entry = entry.unwrap_or_else(|| panic!("{name} is not documented"));
            assert_eq!(kind, entry.kind, "{name}");
            let labels = metrics.labels(name);
            assert_eq!(labels, entry.labels.iter().copied().collect(), "{name}");
            exported.insert(name.as_str());
        }
    }
    for entry in entries() {
        // No stage was lost here.
        let expected = entry.name != "cogwheel_stage_retries_total";
        assert!(!expected || exported.contains(&*entry.name), "{} is not exported", entry.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generation_is_counted_and_measured_at_every_stage() {
    let stages = start();
    generate(&stages).await;
    generate(&stages).await;
    let frames = f64::from(Case::read("ddim").request.num_frames.unwrap());
    let [text_encoder, denoiser, vae, orchestrator] = scrape(&stages);
    for (metrics, service, method) in [
        (&text_encoder, "text_encoder", "TextEncoderService/Encode"),
        (&denoiser, "denoiser", "DenoiserService/Denoise"),
        (&vae, "vae", "VaeService/Decode"),
        (&orchestrator, "orchestrator", "GenerationService/GenerateVideo"),
    ] {
        let of = [("service", service), ("method", method)];
        let code = [&of[..], &[("code", "OK")]].concat();
        assert_eq!(metrics.sum("cogwheel_requests_total", &code), 2.0, "{service}");
        assert_eq!(metrics.sum("cogwheel_requests_total", &of), 2.0, "{service}");
        assert_eq!(metrics.sum("cogwheel_request_duration_seconds_count", &of), 2.0, "{service}");
        assert!(metrics.sum("cogwheel_request_duration_seconds_sum", &of) > 0.0, "{service}");
        assert_eq!(metrics.sum("cogwheel_ready", &[("service", service)]), 1.0);
        assert_eq!(metrics.sum("cogwheel_build_info", &[]), 1.0);
        for idle in ["cogwheel_requests_in_flight", "cogwheel_queue_depth"] {
            assert_eq!(metrics.sum(idle, &[]), 0.0, "{service}: {idle}");
        }
        for bad in ["cogwheel_rejected_total", "cogwheel_cancelled_total"] {
            assert_eq!(metrics.sum(bad, &[]), 0.0, "{service}: {bad}");
        }
    }
    for metrics in [&text_encoder, &denoiser, &vae] {
        assert!(metrics.sum("cogwheel_model_load_seconds", &[]) > 0.0);
    }
    // The second time the embeddings are there and the variant too.
    let of_prompts = [("cache", "prompt_embeddings")];
    assert_eq!(text_encoder.sum("cogwheel_cache_misses_total", &of_prompts), 2.0);
    assert_eq!(text_encoder.sum("cogwheel_cache_hits_total", &of_prompts), 2.0);
    assert_eq!(text_encoder.sum("cogwheel_queue_seconds_count", &[]), 1.0);
    assert_eq!(denoiser.sum("cogwheel_queue_seconds_count", &[]), 2.0);
    assert_eq!(denoiser.sum("cogwheel_step_seconds_count", &[]), f64::from(2 * STEPS));
    assert!(denoiser.sum("cogwheel_step_seconds_sum", &[]) > 0.0);
    assert_eq!(denoiser.sum("cogwheel_merge_seconds_count", &[]), 1.0);
    let of_variants = [("cache", "variants")];
    assert_eq!(denoiser.sum("cogwheel_cache_misses_total", &of_variants), 1.0);
    assert_eq!(denoiser.sum("cogwheel_cache_hits_total", &of_variants), 1.0);
    assert_eq!(denoiser.sum("cogwheel_resident_variants", &[]), 1.0);
    assert!(denoiser.sum("cogwheel_resident_variant_bytes", &[]) > 0.0);
    assert_eq!(vae.sum("cogwheel_frames_total", &[]), 2.0 * frames);
    assert_eq!(orchestrator.sum("cogwheel_frames_total", &[]), 2.0 * frames);
    assert_eq!(orchestrator.sum("cogwheel_replica_up", &[]), 3.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_and_those_who_leave_are_counted_by_their_reason() {
    let stages = start();
    let refused = GenerateVideoRequest { num_frames: Some(10), ..request(1) };
    let status = stages.client().generate_video(refused).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let mut stream = stages.client().generate_video(request(1000)).await.unwrap().into_inner();
    stream.message().await.unwrap().unwrap();
    drop(stream);
    let counted = async || {
        let orchestrator = Metrics::of(&stages.orchestrator.admin());
        let left = orchestrator.sum("cogwheel_cancelled_total", &[("reason", "client")]);
        assert!(left <= 1.0);
        (left == 1.0).then_some(orchestrator)
    };
    let orchestrator = eventually("it is counted that the client left", counted).await;
    let refused = [("service", "orchestrator"), ("reason", "invalid")];
    assert_eq!(orchestrator.sum("cogwheel_rejected_total", &refused), 1.0);
    assert_eq!(orchestrator.sum("cogwheel_requests_total", &[("code", "CANCELLED")]), 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_lost_is_told() {
    let Stages { text_encoder, denoiser, vae, orchestrator } = start();
    drop(orchestrator);
    let model = data("checkpoints/sincos");
    let other = Stages::stage("cogwheel-denoiser", &model, &[]);
    let both = [denoiser.url.as_str(), &other.url].join(",");
    let urls = [&text_encoder.url, &both, &vae.url].map(String::as_str);
    let orchestrator = Stages::orchestrator(&model, urls, &ADMIN);
    let up = async |expected: f64| {
        let told = async || {
            let metrics = Metrics::of(&orchestrator.admin());
            let up = metrics.sum("cogwheel_replica_up", &[("stage", "denoiser")]);
            (up == expected).then_some(metrics)
        };
        eventually("so many replicas are up", told).await
    };
    up(2.0).await;
    other.signal("KILL");
    let metrics = up(1.0).await;
    let of_the_other = [("stage", "denoiser"), ("address", other.url.as_str())];
    assert_eq!(metrics.sum("cogwheel_replica_up", &of_the_other), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_caller_makes_up_labels() {
    let vae = Stages::stage("cogwheel-vae", &data("checkpoints/sincos"), &ADMIN);
    let before = Metrics::of(&vae.admin()).len();
    let mut lengths = BTreeSet::new();
    for count in 0..100 {
        let path: PathAndQuery = format!("/made{count}.Up/Method{count}").parse().unwrap();
        let mut client = tonic::client::Grpc::new(vae.channel());
        client.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<(), ()>::default();
        let answer = client.unary(tonic::Request::new(()), path, codec).await;
        assert_eq!(answer.unwrap_err().code(), Code::Unimplemented);
        lengths.insert(Metrics::of(&vae.admin()).len());
    }
    assert!(lengths.len() <= 2, "from {before} series to {lengths:?}");
    let metrics = Metrics::of(&vae.admin());
    let other = [("method", "other"), ("code", "UNIMPLEMENTED")];
    assert!(metrics.sum("cogwheel_requests_total", &other) >= 99.0);
}
