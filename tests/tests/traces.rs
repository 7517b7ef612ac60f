//! The trace of one generation, read back from a collector: every stage and every step under one id, from the client's
//! on. Who asks for none, and a collector that is gone, cost nothing.
#![allow(clippy::unwrap_used, reason = "a test may fail")]
#![cfg(unix)]

use std::collections::{BTreeSet, HashMap};

use cogwheel_api::generation::v1::generate_video_response::Event;
use cogwheel_api::generation::v1::{AdapterChoice, GenerateVideoRequest};
use cogwheel_tests::{Case, Collector, Span, Stages, Video, collect, data};
use tonic::Request;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";
/// Letters that stand in no name, path or message of ours.
const SECRETS: [&str; 2] = ["qzxprompt", "qzxnegative"];
const STEPS: u32 = 4;
const SERVER: i32 = 2;
const CLIENT: i32 = 3;

fn start(flags: &[&str]) -> Stages {
    let model = data("checkpoints/sincos");
    let adapters = data("adapters");
    let stage = |name| Stages::stage(name, &model, flags);
    let (text_encoder, denoiser) = (stage("cogwheel-text-encoder"), stage("cogwheel-denoiser"));
    let vae = stage("cogwheel-vae");
    let urls = [&text_encoder.url, &denoiser.url, &vae.url].map(String::as_str);
    let flags = [flags, &["--adapter-dir", adapters.to_str().unwrap()]].concat();
    let orchestrator = Stages::orchestrator(&model, urls, &flags);
    for process in [&text_encoder, &denoiser, &vae, &orchestrator] {
        process.wait_for("\"ready\"");
    }
    Stages { text_encoder, denoiser, vae, orchestrator }
}

/// A generation with an adapter, as part of the caller's trace where it has one.
async fn generate(stages: &Stages, traceparent: Option<&str>) -> Video {
    let request = GenerateVideoRequest {
        prompt: SECRETS[0].to_owned(),
        negative_prompt: SECRETS[1].to_owned(),
        num_inference_steps: Some(STEPS),
        adapters: vec![AdapterChoice { name: "attention".to_owned(), scale: Some(0.7) }],
        ..Case::read("ddim").request
    };
    let mut request = Request::new(request);
    if let Some(traceparent) = traceparent {
        request.metadata_mut().insert("traceparent", traceparent.parse().unwrap());
    }
    collect(stages.client().generate_video(request).await.unwrap().into_inner()).await.unwrap()
}

/// Ends all processes, which send what they have left.
fn end(stages: Stages) {
    let Stages { text_encoder, denoiser, vae, orchestrator } = stages;
    for process in [orchestrator, vae, denoiser, text_encoder] {
        process.terminate();
        let (status, lines) = process.finish();
        assert_eq!(status.code(), Some(0), "{lines:#?}");
    }
}

/// The id that the orchestrator tells.
fn told(video: &Video) -> String {
    let accepted = video.events.iter().find_map(|(_, event)| match event {
        Event::Accepted(accepted) => Some(accepted.generation_id.clone()),
        _ => None,
    });
    accepted.unwrap()
}

/// The one span of this name with these attributes.
#[track_caller]
fn the<'s>(spans: &'s [Span], name: &str, attributes: &[(&str, &str)]) -> &'s Span {
    let has = |span: &&Span| {
        let of = |key: &str| span.attributes.get(key).map(String::as_str);
        span.name == name && attributes.iter().all(|&(key, value)| of(key) == Some(value))
    };
    let found: Vec<_> = spans.iter().filter(has).collect();
    assert_eq!(found.len(), 1, "{name} {attributes:?} in {spans:#?}");
    found[0]
}

#[tokio::test(flavor = "multi_thread")]
async fn one_generation_is_one_trace_from_the_client_through_every_stage_and_step() {
    let (collector, url) = Collector::start().await;
    let stages = start(&["--otlp-endpoint", &url]);
    let video = generate(&stages, Some(&format!("00-{TRACE}-{CALLER}-01"))).await;
    assert_eq!(told(&video), TRACE, "the client's id is kept");
    end(stages);
    let spans = collector.spans();
    assert!(spans.iter().all(|span| span.trace == TRACE), "{spans:#?}");
    let processes: BTreeSet<_> = spans.iter().map(|span| span.process.as_str()).collect();
    let four =
        ["cogwheel-denoiser", "cogwheel-orchestrator", "cogwheel-text-encoder", "cogwheel-vae"];
    assert_eq!(processes, BTreeSet::from(four));

    let call = the(&spans, "call", &[("method", "GenerationService/GenerateVideo")]);
    assert_eq!((call.parent.as_str(), call.kind), (CALLER, SERVER));
    let generation = the(&spans, "generation", &[]);
    assert_eq!(generation.parent, call.id);
    for (process, method) in [
        ("cogwheel-text-encoder", "TextEncoderService/Encode"),
        ("cogwheel-denoiser", "DenoiserService/PutAdapter"),
        ("cogwheel-denoiser", "DenoiserService/Denoise"),
        ("cogwheel-vae", "VaeService/Decode"),
    ] {
        let ours = the(&spans, "stage call", &[("method", method)]);
        let theirs = the(&spans, "call", &[("method", method)]);
        assert_eq!((ours.process.as_str(), ours.kind), ("cogwheel-orchestrator", CLIENT));
        assert_eq!((theirs.process.as_str(), theirs.kind), (process, SERVER));
        assert_eq!(theirs.parent, ours.id, "{method}");
        assert!(ours.times[0] <= theirs.times[0], "{method}");
    }
    let denoise = the(&spans, "call", &[("method", "DenoiserService/Denoise")]);
    for index in 1..=STEPS {
        let step = the(&spans, "step", &[("index", &index.to_string())]);
        assert_eq!((&step.parent, &step.process), (&denoise.id, &denoise.process));
        assert!(denoise.times[0] <= step.times[0] && step.times[1] <= denoise.times[1]);
    }
    let decode = the(&spans, "call", &[("method", "VaeService/Decode")]);
    let chunks: Vec<_> = spans.iter().filter(|span| span.name == "decode chunk").collect();
    assert!(!chunks.is_empty() && chunks.iter().all(|chunk| chunk.parent == decode.id));
    assert_eq!(the(&spans, "merge", &[]).process, "cogwheel-denoiser");

    // Nobody's parent is missing, and all lead to the generation.
    let by_id: HashMap<_, _> = spans.iter().map(|span| (span.id.as_str(), span)).collect();
    assert_eq!(by_id.len(), spans.len());
    for mut span in spans.iter().filter(|span| span.id != call.id) {
        while span.id != generation.id {
            span = by_id.get(span.parent.as_str()).unwrap_or_else(|| panic!("lost: {span:#?}"));
        }
    }
    for secret in SECRETS {
        assert!(!format!("{spans:?}").contains(secret), "{spans:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generation_without_a_trace_of_its_own_begins_one_that_is_told() {
    let (collector, url) = Collector::start().await;
    let stages = start(&["--otlp-endpoint", &url]);
    let video = generate(&stages, None).await;
    end(stages);
    let spans = collector.spans();
    let call = the(&spans, "call", &[("method", "GenerationService/GenerateVideo")]);
    assert_eq!(call.parent, "");
    assert_eq!(told(&video), call.trace);
    assert!(spans.iter().all(|span| span.trace == call.trace), "{spans:#?}");
    assert!(spans.iter().any(|span| span.name == "step"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_to_be_recorded_is_not_and_keeps_its_id() {
    let (collector, url) = Collector::start().await;
    let stages = start(&["--otlp-endpoint", &url, "--trace-sample", "0"]);
    let video = generate(&stages, Some(&format!("00-{TRACE}-{CALLER}-00"))).await;
    assert_eq!(told(&video), TRACE);
    assert_eq!(told(&generate(&stages, None).await).len(), TRACE.len());
    // The caller has decided for this one.
    let other = TRACE.replace('4', "5");
    generate(&stages, Some(&format!("00-{other}-{CALLER}-01"))).await;
    end(stages);
    let spans = collector.spans();
    assert!(!spans.is_empty() && spans.iter().all(|span| span.trace == other), "{spans:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_never_answers_holds_nobody_up() {
    // It takes connections and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let stages = start(&["--otlp-endpoint", &url]);
    let plain = start(&[]);
    for _ in 0..3 {
        let traced = generate(&stages, None).await;
        let untraced = generate(&plain, None).await;
        assert_eq!(traced.latents, untraced.latents);
    }
    end(stages);
    end(plain);
}
