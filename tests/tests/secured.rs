//! The chain as four processes that believe nobody: mutual TLS and tokens between all of them, the same bytes as without, and
//! no secret in any line that they log.
#![allow(clippy::unwrap_used, reason = "a test may fail")]
#![cfg(unix)]

#[path = "../../shared/service/tests/security/certificates.rs"]
#[allow(dead_code, reason = "another test needs the rest of it")]
mod certificates;

use std::path::{Path, PathBuf};

use certificates::{Authority, Pair, Validity};
use cogwheel_api::denoiser::v1::denoiser_service_client::DenoiserServiceClient;
use cogwheel_api::generation::v1::generation_service_client::GenerationServiceClient;
use cogwheel_api::generation::v1::{GenerateVideoRequest, OutputFormat};
use cogwheel_service::{Dialer, DialerSettings, Link, TokenSource};
use cogwheel_tests::{Case, Chain, Process, ServiceProcess, binary, collect, data};
use tempfile::TempDir;
use tonic::Code;
use tonic::codegen::Service as _;

/// Words that stand in no name, path or message of ours.
const PROMPT: &str = "qzxprompt a secret cube";
const CLIENT_TOKEN: &str = "qzxclient-token";
const STAGE_TOKEN: &str = "qzxstage-token";

/// `printf %s TOKEN | sha256sum` of both.
const CLIENT_SHA256: &str = "038afa268d141dbf551dfe7cecef2ba0f23ec0a509c9a1461e861d40c2c60c19";
const STAGE_SHA256: &str = "d91089ba132c061a8c564c50b7c76f204b541558f2db521394197882d25389d6";

/// What an operator lays out: an authority, pairs, a file of settings, tokens.
struct Files {
    folder: TempDir,
    ca: PathBuf,
    client: Pair,
}

impl Files {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new();
        let ca = authority.write(&folder.path().join("ca.crt"));
        let issue =
            |name, names: &[&str]| authority.issue(folder.path(), name, names, Validity::Good);
        issue("server", &["127.0.0.1", "localhost"]);
        let client = issue("client", &["client.example"]);
        let tables = format!(
            "[[tokens]]\nname = 'ci'\nsha256 = '{CLIENT_SHA256}'\nroles = ['generate']\n\
             [[tokens]]\nname = 'chain'\nsha256 = '{STAGE_SHA256}'\nroles = ['stage']\n"
        );
        std::fs::write(folder.path().join("cogwheel.toml"), tables).unwrap();
        std::fs::write(folder.path().join("client-token"), CLIENT_TOKEN).unwrap();
        std::fs::write(folder.path().join("stage-token"), STAGE_TOKEN).unwrap();
        Self { folder, ca, client }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// Flags of every server.
    fn of_server(&self) -> Vec<String> {
        let mut flags = Vec::new();
        for (flag, name) in [
            ("--config", "cogwheel.toml"),
            ("--tls-cert", "server.crt"),
            ("--tls-key", "server.key"),
            ("--tls-client-ca", "ca.crt"),
        ] {
            flags.extend([flag.to_owned(), self.path(name)]);
        }
        flags.extend(["--log".to_owned(), "trace".to_owned()]);
        flags
    }

    /// Starts a service with these and further flags.
    fn start(&self, name: &str, flags: &[&str]) -> ServiceProcess {
        let model = data("checkpoints/sincos");
        let of_server = self.of_server();
        let mut all = vec!["--model", model.to_str().unwrap()];
        all.extend(of_server.iter().map(String::as_str));
        all.extend(flags);
        ServiceProcess::start_on("127.0.0.1:0", name, &all)
    }

    /// The way to a server for whoever has this token.
    fn link(&self, process: &ServiceProcess, token: Option<&str>) -> Link {
        let settings = DialerSettings {
            ca: Some(self.ca.clone()),
            identity: Some((self.client.cert.clone(), self.client.key.clone())),
            token: token.map(|token| TokenSource::Text(token.to_owned())),
        };
        Dialer::new(settings, true).unwrap().connect(&process.url.parse().unwrap())
    }
}

/// Four processes that know each other by certificates and a token.
fn start(files: &Files) -> [ServiceProcess; 4] {
    let stage = |name| files.start(name, &["--threads", "1"]);
    let stages = ["cogwheel-text-encoder", "cogwheel-denoiser", "cogwheel-vae"].map(stage);
    for stage in &stages {
        assert!(stage.url.starts_with("https://"), "{}", stage.url);
        stage.wait_for("\"ready\"");
    }
    let [text_encoder, denoiser, vae] = stages;
    let [ca, cert, key, token] =
        ["ca.crt", "client.crt", "client.key", "stage-token"].map(|name| files.path(name));
    let flags = [
        ["--text-encoder", &text_encoder.url],
        ["--denoiser", &denoiser.url],
        ["--vae", &vae.url],
        ["--stage-ca", &ca],
        ["--stage-cert", &cert],
        ["--stage-key", &key],
        ["--stage-token-file", &token],
    ];
    let orchestrator = files.start("cogwheel-orchestrator", flags.as_flattened());
    orchestrator.wait_for("\"ready\"");
    [orchestrator, text_encoder, denoiser, vae]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generation_through_mutual_tls_and_tokens_equals_one_without_and_no_secret_is_logged() {
    let files = Files::new();
    let processes = start(&files);
    let [orchestrator, _, denoiser, _] = &processes;
    let request = GenerateVideoRequest {
        prompt: PROMPT.to_owned(),
        num_inference_steps: Some(2),
        output_format: OutputFormat::Mp4.into(),
        ..Case::read("ddim").request
    };
    let client = |token| {
        let client = GenerationServiceClient::new(files.link(orchestrator, token));
        client.max_decoding_message_size(64 << 20)
    };
    let stream = client(Some(CLIENT_TOKEN)).generate_video(request.clone()).await.unwrap();
    let secured = collect(stream.into_inner()).await.unwrap();
    let chain = Chain::start(&data("checkpoints/sincos"));
    let stream = chain.client().generate_video(request.clone()).await.unwrap();
    let plain = collect(stream.into_inner()).await.unwrap();
    assert_eq!(secured.files.len(), 1);
    assert!(secured.files == plain.files, "files differ");
    chain.stop().await;

    for (token, expected) in [
        (None, Code::Unauthenticated),
        (Some("qzxwrong-token"), Code::Unauthenticated),
        (Some(STAGE_TOKEN), Code::PermissionDenied),
    ] {
        let status = client(token).generate_video(request.clone()).await.unwrap_err();
        assert_eq!(status.code(), expected, "{status}");
    }
    // Whoever may make videos may not call a stage by itself.
    let mut stage = DenoiserServiceClient::new(files.link(denoiser, Some(CLIENT_TOKEN)));
    let status = stage.denoise(tokio_stream::empty()).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied, "{status}");

    let mut lines = 0;
    for process in processes {
        process.terminate();
        let (status, logged) = process.finish();
        assert_eq!(status.code(), Some(0), "{logged:#?}");
        lines += logged.len();
        for line in logged {
            for secret in ["qzx", "secret cube", CLIENT_SHA256, STAGE_SHA256] {
                assert!(!line.contains(secret), "{secret} in {line}");
            }
        }
    }
    assert!(lines > 100, "{lines} lines at trace level");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_and_browsers_reach_a_server_with_tls() {
    let files = Files::new();
    let model = data("checkpoints/sincos");
    let [config, cert, key] =
        ["cogwheel.toml", "server.crt", "server.key"].map(|name| files.path(name));
    let mut args = vec!["serve", "--listen", "127.0.0.1:0", "--log-format", "json"];
    args.extend(["--threads", "1", "--model", model.to_str().unwrap(), "--config", &config]);
    args.extend(["--tls-cert", &cert, "--tls-key", &key]);
    let server = ServiceProcess::of(&binary("cogwheel"), &args);
    server.wait_for("\"ready\",\"service\":\"orchestrator\"");
    let output = files.path("clip.mp4");
    let ca = files.path("ca.crt");
    let generate = |further: &[&str]| {
        let mut args = vec!["generate", "--endpoint", &server.url, "--prompt", "a cube"];
        args.extend(["--num-inference-steps", "1", "--num-frames", "9", "--output", &output]);
        args.extend(further);
        Process::start(&binary("cogwheel"), &args).wait()
    };
    let token = files.path("client-token");
    let (status, _, error) = generate(&["--tls-ca", &ca, "--token-file", &token]);
    assert_eq!(status.code(), Some(0), "{error}");
    assert!(Path::new(&output).is_file());
    let (status, _, error) = generate(&["--tls-ca", &ca]);
    assert_eq!(status.code(), Some(2), "{error}");
    assert!(error.contains("expected a token"), "{error}");
    let (status, _, error) = generate(&["--token-file", &token]);
    assert_eq!(status.code(), Some(1), "{error}");
    assert!(error.contains("invalid peer certificate"), "{error}");

    // The page is for everybody who is let in at all, by HTTP/2 as browsers speak it with TLS.
    let mut link = files.link(&server, None);
    let request = tonic::codegen::http::Request::get("/").body(tonic::body::Body::empty());
    std::future::poll_fn(|cx| link.poll_ready(cx)).await.unwrap();
    let response = link.call(request.unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/html; charset=utf-8");
}
