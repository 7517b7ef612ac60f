//! What processes log: one JSON object a line that says which service it is of, and never a prompt.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::path::Path;

use cogwheel_api::generation::v1::GenerateVideoRequest;
use cogwheel_tests::{Case, Stages, collect, data};
use serde_json::Value;

/// Letters that stand in no name, path or message of ours.
const PROMPT: &str = "qzxprompt a secret cube";
const NEGATIVE_PROMPT: &str = "qzxnegative a secret sphere";

/// Every line of four processes that served a request, a long prompt and a refused one.
async fn lines(filter: &str) -> Vec<String> {
    let stages = Stages::start_with(&data("checkpoints/sincos"), &["--log", filter]);
    let request = |prompt: String| GenerateVideoRequest {
        prompt,
        negative_prompt: NEGATIVE_PROMPT.to_owned(),
        num_inference_steps: Some(2),
        ..Case::read("ddim").request
    };
    for (count, accepted) in [(1, true), (100, true), (10_000, false)] {
        let request = request(PROMPT.repeat(count));
        let result = match stages.client().generate_video(request).await {
            Ok(stream) => collect(stream.into_inner()).await,
            Err(status) => Err(status),
        };
        assert_eq!(result.is_ok(), accepted, "{:?}", result.err());
    }
    let Stages { orchestrator, text_encoder, denoiser, vae } = stages;
    let mut all = Vec::new();
    for process in [orchestrator, text_encoder, denoiser, vae] {
        process.terminate();
        let (status, lines) = process.finish();
        assert_eq!(status.code(), Some(0), "{lines:#?}");
        all.extend(lines);
    }
    all
}

/// The `service` of the line itself or of a span that it was logged in.
fn service(line: &Value) -> Option<&str> {
    let spans = line["spans"].as_array().map_or(&[][..], Vec::as_slice);
    let mut places = std::iter::once(line).chain(spans);
    places.find_map(|place| place["service"].as_str())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_line_is_a_json_object_with_service_and_message() {
    let lines = lines("cogwheel=trace").await;
    let mut services = std::collections::BTreeSet::new();
    for line in &lines {
        let object: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        for key in ["timestamp", "level", "target", "message"] {
            assert!(object[key].is_string(), "expected {key} in {line}");
        }
        let service = service(&object).unwrap_or_else(|| panic!("expected service in {line}"));
        services.insert(service.to_owned());
    }
    let services: Vec<_> = services.iter().map(String::as_str).collect();
    assert_eq!(services, ["denoiser", "orchestrator", "text encoder", "vae"]);
    let all = lines.join("\n");
    for said in ["\"listening\"", "\"ready\"", "\"step completed\"", "\"video completed\""] {
        assert!(all.contains(said), "expected {said} in {all}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn prompts_are_never_logged_not_even_at_trace_level() {
    for filter in ["cogwheel=trace", "trace"] {
        for line in lines(filter).await {
            for secret in ["qzxprompt", "qzxnegative", "secret"] {
                assert!(!line.contains(secret), "{filter}: {line}");
            }
        }
    }
}

#[test]
fn a_filter_that_cannot_be_read_is_told_in_one_line() {
    let program = cogwheel_tests::binary("cogwheel-vae");
    let args = ["--model", "nowhere", "--log", "vae=loud"];
    let process = cogwheel_tests::Process::start(Path::new(&program), &args);
    let (status, _, error) = process.wait();
    assert_eq!(status.code(), Some(2), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(error.starts_with("error: --log: expected a filter such as info"), "{error}");
}
