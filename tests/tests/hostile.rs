//! Whatever bytes are sent to a method, it answers with a status of its own and the next caller is served; what is not whole
//! takes bounded memory.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::sync::LazyLock;

use bytes::{BufMut as _, Bytes, BytesMut};
use cogwheel_api::generation::v1::generation_service_client::GenerationServiceClient;
use cogwheel_api::generation::v1::{GenerateVideoRequest, GetModelRequest, OutputFormat};
use cogwheel_tests::calls::{decode, denoise, encode};
use cogwheel_tests::parts::{denoise_header, denoise_request, zeros};
use cogwheel_tests::{Case, Chain, collect};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use prost_types::FileDescriptorSet;
use tokio::runtime::Runtime;
use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, Request};
use tonic::codegen::{Body as _, Service as _};
use tonic::transport::Channel;
use tonic::{Code, Status};

/// How callers send: one message, or a stream of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sends {
    One,
    Stream,
}

/// A method of the protos.
#[derive(Clone, Debug)]
struct Method {
    path: String,
    sends: Sends,
}

/// All of them, so that a method that is added is tried here too.
fn methods() -> Vec<Method> {
    use prost::Message as _;
    let files = FileDescriptorSet::decode(cogwheel_api::FILE_DESCRIPTOR_SET).unwrap().file;
    let mut methods = Vec::new();
    for file in files {
        for service in &file.service {
            for method in &service.method {
                let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                let sends = if method.client_streaming() { Sends::Stream } else { Sends::One };
                methods.push(Method { path, sends });
            }
        }
    }
    assert!(methods.len() >= 10, "{methods:?}");
    methods
}

/// Who serves a method.
fn channel(chain: &Chain, method: &Method) -> Channel {
    let [text_encoder, denoiser, vae] = chain.stage_channels();
    match &*method.path {
        path if path.contains(".TextEncoderService/") => text_encoder,
        path if path.contains(".DenoiserService/") || path.contains(".StageService/") => denoiser,
        path if path.contains(".VaeService/") => vae,
        _ => chain.channel(),
    }
}

/// A message as it goes over the wire: a flag, its length, its bytes.
fn framed(flag: u8, length: usize, bytes: &[u8]) -> Bytes {
    let mut frame = BytesMut::new();
    frame.put_u8(flag);
    frame.put_u32(u32::try_from(length).unwrap());
    frame.put_slice(bytes);
    frame.freeze()
}

/// What a method answers to a body of these bytes, read to its end.
async fn answer(mut channel: Channel, path: &str, body: Bytes) -> Status {
    let request = Request::post(path)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Body::new(http_body_util::Full::new(body)))
        .unwrap();
    std::future::poll_fn(|cx| channel.poll_ready(cx)).await.unwrap();
    let response = match channel.call(request).await {
        Ok(response) => response,
        Err(error) => return Status::unavailable(error.to_string()),
    };
    let (head, mut body) = response.into_parts();
    let mut trailers = head.headers;
    while let Some(frame) = next(&mut body).await {
        if let Ok(found) = frame.into_trailers() {
            trailers = found;
        }
    }
    status(&trailers)
}

async fn next(body: &mut Body) -> Option<http_body::Frame<Bytes>> {
    let mut body = std::pin::Pin::new(body);
    std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await?.ok()
}

fn status(headers: &HeaderMap) -> Status {
    Status::from_header_map(headers).unwrap_or_else(|| Status::unknown("no status"))
}

/// All of the chain serves good requests.
async fn serves(chain: &Chain) {
    let [text_encoder, denoiser, vae] = chain.stage_channels();
    encode(&text_encoder, vec!["a cube".to_owned()]).await.unwrap();
    denoise(&denoiser, denoise_request(denoise_header())).await.unwrap();
    let latents = cogwheel_api::tensor_parts("latents", &zeros([1, 4, 2, 2]));
    decode(&vae, latents.map(Some).collect()).await.unwrap();
    let request = GenerateVideoRequest {
        num_inference_steps: Some(1),
        output_format: OutputFormat::Mp4.into(),
        ..Case::read("ddim").request
    };
    let stream = chain.client().generate_video(request).await.unwrap().into_inner();
    assert_eq!(collect(stream).await.unwrap().files.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_messages_get_a_status_of_their_own_from_every_method() {
    let chain = Chain::start(&Case::read("ddim").model);
    for method in methods() {
        let refused =
            |one: Code| if method.sends == Sends::One { one } else { Code::InvalidArgument };
        for (what, body, expected) in [
            // No byte of it is waited for.
            ("a gigabyte announced", framed(0, 1 << 30, b""), refused(Code::OutOfRange)),
            ("cut in the middle", framed(0, 100, b"cut"), refused(Code::Internal)),
            ("cut in its header", Bytes::from_static(&[0, 0, 0]), refused(Code::Internal)),
            ("no protobuf", framed(0, 4, &[0xff; 4]), refused(Code::Internal)),
            ("compressed as nobody asked", framed(1, 4, &[0xff; 4]), refused(Code::Internal)),
            ("an unknown flag", framed(7, 4, &[0xff; 4]), refused(Code::Internal)),
        ] {
            let found = answer(channel(&chain, &method), &method.path, body).await;
            assert_eq!(found.code(), expected, "{what} to {}: {found}", method.path);
        }
    }
    serves(&chain).await;
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_has_is_unimplemented() {
    let chain = Chain::start(&Case::read("ddim").model);
    for path in ["/", "/cogwheel.vae.v1.VaeService/Destroy", "/no.Such/Method", "/%00/../etc"] {
        for channel in chain.stage_channels().into_iter().chain([chain.channel()]) {
            let found = answer(channel, path, framed(0, 0, b"")).await;
            assert_eq!(found.code(), Code::Unimplemented, "{path}: {found}");
        }
    }
    chain.stop().await;
}

#[test]
fn any_bytes_to_any_method_are_answered_and_everybody_is_served_after_them() {
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
    let _entered = RUNTIME.enter();
    let chain = Chain::start(&Case::read("ddim").model);
    let methods = methods();
    let frame = (any::<bool>(), vec(any::<u8>(), 0..200), 0..3_usize);
    let frames = vec(frame, 0..4);
    let inputs = (0..methods.len(), frames, vec(any::<u8>(), 0..8));
    let config = ProptestConfig { cases: 256, failure_persistence: None, ..Default::default() };
    let result = TestRunner::new(config).run(&inputs, |(index, frames, rest)| {
        let method = &methods[index];
        // A watch of a stage's status has no end of its own.
        if method.path.ends_with("/WatchStatus") {
            return Ok(());
        }
        let mut body = BytesMut::new();
        for (truthful, bytes, lie) in frames {
            let length = if truthful { bytes.len() } else { bytes.len() + lie };
            body.extend_from_slice(&framed(0, length, &bytes));
        }
        body.extend_from_slice(&rest);
        let found = RUNTIME.block_on(answer(channel(&chain, method), &method.path, body.freeze()));
        let told = matches!(
            found.code(),
            Code::Ok
                | Code::InvalidArgument
                | Code::NotFound
                | Code::PermissionDenied
                | Code::OutOfRange
                | Code::Internal
                | Code::Unimplemented
        );
        prop_assert!(told, "{}: {}", method.path, found);
        // INTERNAL is tonic's word for what is no message, never for a fault of ours.
        let fault = found.code() == Code::Internal && found.message().contains("panic");
        prop_assert!(!fault, "{}: {}", method.path, found);
        Ok(())
    });
    RUNTIME.block_on(async {
        serves(&chain).await;
        chain.stop().await;
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

/// Bytes that this process has in memory.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
}

/// Each announces as much as it may and stops: memory is that of what came, not of what was announced.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn announced_bytes_take_no_memory_and_callers_that_leave_in_the_middle_give_their_places_back()
 {
    let chain = Chain::start(&Case::read("ddim").model);
    serves(&chain).await;
    let before = resident();
    let mut stopped = Vec::new();
    for method in methods() {
        let limit = if method.path.ends_with("/GenerateVideo") { 64 << 20 } else { 4 << 20 };
        for _ in 0..32 {
            let (sender, receiver) = tokio::sync::mpsc::channel::<Bytes>(1);
            sender.send(framed(0, limit, b"begun")).await.unwrap();
            let path = method.path.clone();
            let mut channel = channel(&chain, &method);
            let call = tokio::spawn(async move {
                let body = http_body_util::StreamBody::new(tokio_stream::StreamExt::map(
                    tokio_stream::wrappers::ReceiverStream::new(receiver),
                    |bytes| Ok::<_, Status>(http_body::Frame::data(bytes)),
                ));
                let request = Request::post(path).header("content-type", "application/grpc");
                let request = request.body(Body::new(body)).unwrap();
                std::future::poll_fn(|cx| channel.poll_ready(cx)).await.unwrap();
                channel.call(request).await.is_ok()
            });
            stopped.push((sender, call));
        }
    }
    // Other connections are served meanwhile; a stage's places may all be taken, of which the orchestrator's callers are told.
    let mut client = GenerationServiceClient::new(chain.channel());
    client.get_model(GetModelRequest {}).await.unwrap();
    let grown = resident().saturating_sub(before);
    assert!(grown < 256 << 20, "{} calls took {grown} bytes", stopped.len());
    for (sender, call) in stopped {
        call.abort();
        drop(sender);
    }
    cogwheel_tests::eventually("places are given back", async || {
        let [text_encoder, denoiser, vae] = chain.stage_channels();
        let latents = cogwheel_api::tensor_parts("latents", &zeros([1, 4, 2, 2]));
        let answers = [
            encode(&text_encoder, vec!["a cube".to_owned()]).await,
            denoise(&denoiser, denoise_request(denoise_header())).await,
            decode(&vae, latents.map(Some).collect()).await.map(drop),
        ];
        answers.iter().all(Result::is_ok).then_some(())
    })
    .await;
    serves(&chain).await;
    chain.stop().await;
}
