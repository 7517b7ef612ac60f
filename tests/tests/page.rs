//! The page of `cogwheel serve` and gRPC-Web over HTTP/1.1 beside gRPC on one port; what the page does
//! in a browser is tested in `tests/browser`.
#![allow(clippy::unwrap_used, reason = "a test may fail")]
#![cfg(unix)]

use cogwheel_api::generation::v1::generation_service_client::GenerationServiceClient;
use cogwheel_api::generation::v1::{GenerateVideoRequest, GetModelRequest};
use cogwheel_tests::{Http1, Http1Answer, ServiceProcess, Stages, binary, collect, data, own_host};

const GENERATE: &str = "/cogwheel.generation.v1.GenerationService/GenerateVideo";
const GET_MODEL: &str = "/cogwheel.generation.v1.GenerationService/GetModel";
const GRPC_WEB: &str = "content-type: application/grpc-web+proto";
const CLOSE: &str = "connection: close";
/// `num_inference_steps` of a GenerateVideoRequest: field 7, a varint.
const STEPS: u8 = 7 << 3;
/// 1000: more than any test waits for.
const ENDLESS: [u8; 3] = [STEPS, 0xe8, 0x07];
/// 200: a drain comes in the midst of them, and they end soon.
const SHORT: [u8; 3] = [STEPS, 0xc8, 0x01];

fn serve(flags: &[&str]) -> ServiceProcess {
    let address = format!("{}:0", own_host());
    let model = data("checkpoints/sincos");
    let mut args = vec!["serve", "--listen", &address, "--log-format", "json", "--threads", "1"];
    args.extend(["--model", model.to_str().unwrap()]);
    args.extend(flags);
    let server = ServiceProcess::of(&binary("cogwheel"), &args);
    server.wait_for("\"ready\",\"service\":\"orchestrator\"");
    server
}

fn ask(server: &ServiceProcess, method: &str, path: &str, headers: &[&str]) -> Http1Answer {
    let mut browser = Http1::open(server.address());
    browser.send(method, path, &[headers, &[CLOSE]].concat(), b"");
    browser.finish()
}

/// A gRPC-Web call of one message.
fn call(server: &ServiceProcess, path: &str, headers: &[&str], message: &[u8]) -> Http1 {
    let mut browser = Http1::open(server.address());
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    let framed = [&[0][..], &length, message].concat();
    browser.send("POST", path, &[headers, &[GRPC_WEB, CLOSE]].concat(), &framed);
    browser
}

#[test]
fn the_page_is_there_with_its_security_headers_and_with_all_it_names() {
    let server = serve(&[]);
    let answer = ask(&server, "GET", "/", &[]);
    assert!(answer.head.starts_with("http/1.1 200"), "{}", answer.head);
    for header in [
        "content-type: text/html; charset=utf-8",
        "content-security-policy: default-src 'none'; script-src 'self';",
        "x-content-type-options: nosniff",
        "referrer-policy: no-referrer",
        "cross-origin-opener-policy: same-origin",
        "cache-control: no-cache",
    ] {
        assert!(answer.head.contains(header), "{header} in {}", answer.head);
    }
    assert!(!answer.head.contains("unsafe-inline"), "{}", answer.head);
    let page = String::from_utf8(answer.body).unwrap();
    let named = page.split(['"', '\'']).filter(|word| word.starts_with('/') && word.len() > 1);
    let named: Vec<_> = named.collect();
    assert!(named.contains(&"/app.js") && named.contains(&"/style.css"), "{named:?}");
    for path in named {
        let file = ask(&server, "GET", path, &[]);
        assert!(file.head.starts_with("http/1.1 200") && !file.body.is_empty(), "{path}");
    }
    let head = ask(&server, "HEAD", "/", &[]);
    assert!(head.head.contains(&format!("content-length: {}", page.len())), "{}", head.head);
    assert!(head.body.is_empty());
    for path in ["/index.html", "/../Cargo.toml", GENERATE] {
        let missing = ask(&server, "GET", path, &[]);
        assert!(missing.head.starts_with("http/1.1 404"), "{path}: {}", missing.head);
        assert!(missing.head.contains("content-security-policy"), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_port_speaks_grpc_web_over_http_1_and_grpc_over_http_2() {
    let server = serve(&[]);
    let mut client = GenerationServiceClient::new(server.channel());
    let model = client.get_model(GetModelRequest {}).await.unwrap().into_inner();
    let answer = call(&server, GET_MODEL, &[], b"").finish();
    assert!(answer.head.contains("content-type: application/grpc-web+proto"), "{}", answer.head);
    let body = String::from_utf8_lossy(&answer.body);
    assert!(body.contains(&model.family), "{} in {body}", model.family);
    assert!(body.contains("grpc-status:0"), "{body}");

    let request = GenerateVideoRequest { num_inference_steps: Some(1), ..Default::default() };
    let video = collect(client.generate_video(request).await.unwrap().into_inner()).await.unwrap();
    let answer = call(&server, GENERATE, &[], &[STEPS, 1]).finish();
    assert_eq!(video.files.len(), 1);
    let holds = |text: &[u8]| answer.body.windows(text.len()).any(|window| window == text);
    assert!(holds(b"video.mp4") && holds(b"ftyp") && holds(b"grpc-status:0"));

    // Plain gRPC wants HTTP/2.
    let headers = ["content-type: application/grpc"];
    assert!(ask(&server, "POST", GET_MODEL, &headers).head.starts_with("http/1.1 400"));
}

#[test]
fn a_wrong_setting_is_told_with_its_details() {
    let server = serve(&[]);
    let answer = call(&server, GENERATE, &[], &[5 << 3, 10]).finish();
    let told =
        format!("{}{}", answer.head, String::from_utf8_lossy(&answer.body)).replace(": ", ":");
    for part in ["grpc-status:3", "grpc-status-details-bin:", "num_frames"] {
        assert!(told.contains(part), "{part} in {told}");
    }
}

#[test]
fn a_browser_that_leaves_stops_the_work() {
    let server = serve(&[]);
    let mut browser = call(&server, GENERATE, &[], &ENDLESS);
    browser.read_until("200 OK");
    drop(browser);
    server.wait_for("the caller left");
}

#[test]
fn a_deadline_holds_for_a_browser_too() {
    let server = serve(&[]);
    let answer = call(&server, GENERATE, &["grpc-timeout: 300m"], &ENDLESS).finish();
    let told =
        format!("{}{}", answer.head, String::from_utf8_lossy(&answer.body)).replace(": ", ":");
    assert!(told.contains("grpc-status:4"), "{told}");
}

#[test]
fn a_drain_finishes_a_browsers_clip_and_does_not_wait_for_an_idle_one() {
    let server = serve(&[]);
    let mut idle = Http1::open(server.address());
    idle.send("GET", "/icon.svg", &[], b"");
    idle.read_until("</svg>");
    let mut browser = call(&server, GENERATE, &[], &SHORT);
    browser.read_until("200 OK");
    server.terminate();
    let answer = browser.finish();
    assert!(String::from_utf8_lossy(&answer.body).contains("grpc-status:0"));
    let (status, lines) = server.finish();
    assert_eq!(status.code(), Some(0), "{lines:#?}");
    assert!(!lines.iter().any(|line| line.contains("\"cut\":")), "{lines:#?}");
    drop(idle);
}

#[test]
fn other_origins_are_not_let_in() {
    let server = serve(&[]);
    let preflight = [
        "origin: http://elsewhere.example",
        "access-control-request-method: POST",
        "access-control-request-headers: content-type",
    ];
    let answer = ask(&server, "OPTIONS", GENERATE, &preflight);
    assert!(!answer.head.starts_with("http/1.1 2"), "{}", answer.head);
    assert!(!answer.head.contains("access-control-allow"), "{}", answer.head);

    let strange = "host: elsewhere.example";
    for answer in
        [ask(&server, "GET", "/", &[strange]), call(&server, GET_MODEL, &[strange], b"").finish()]
    {
        assert!(answer.head.starts_with("http/1.1 403"), "{}", answer.head);
        let told = String::from_utf8(answer.body).unwrap();
        assert!(told.contains("expected a host that is an address or localhost"), "{told}");
    }
}

#[test]
fn stages_and_servers_without_a_page_speak_no_http_1() {
    let stages = Stages::start(&data("checkpoints/sincos"));
    let alone = serve(&["--page", "off"]);
    let Stages { text_encoder, denoiser, vae, orchestrator } = &stages;
    for server in [text_encoder, denoiser, vae, orchestrator, &alone] {
        for answer in [ask(server, "GET", "/", &[]), call(server, GET_MODEL, &[], b"").finish()] {
            let Http1Answer { head, body } = answer;
            assert!(!head.contains("http/1.1") && !head.contains("grpc"), "{head}");
            assert!(!String::from_utf8_lossy(&body).contains("html"));
        }
    }
}
