mod lost;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use cogwheel_api::denoiser::v1::denoiser_service_server::{DenoiserService, DenoiserServiceServer};
use cogwheel_api::denoiser::v1::{
    DenoiseRequest, DenoiseResponse, PrepareVariantRequest, PrepareVariantResponse,
    PutAdapterRequest, PutAdapterResponse,
};
use cogwheel_api::generation::v1::generation_service_client::GenerationServiceClient;
use cogwheel_api::generation::v1::{AdapterChoice, GenerateVideoRequest};
use cogwheel_api::tensor_parts;
use cogwheel_api::textencoder::v1::text_encoder_service_server::{
    TextEncoderService, TextEncoderServiceServer,
};
use cogwheel_api::textencoder::v1::{EncodeRequest, EncodeResponse, encode_response::Event};
use cogwheel_service::{Address, Connector, Failure, connect, memory_listener};
use cogwheel_tensor::Tensor;
use tonic::transport::Channel;
use tonic::{Code, Streaming};

use super::*;
use crate::enhancer::EnhancerArgs;
use crate::settings::{AdapterArgs, RequestLimits};
use crate::{RegisteredAdapter, Residency};

const LIMITS: Limits = Limits { max_streams: 16, grace: Duration::from_secs(1), ..Limits::DEFAULT };

fn demo(path: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demo").join(path)
}

/// Embeddings of this shape, all zeros.
struct TextEncoder([usize; 2]);

#[tonic::async_trait]
impl TextEncoderService for TextEncoder {
    type EncodeStream = tokio_stream::Iter<std::vec::IntoIter<Result<EncodeResponse, Status>>>;

    async fn encode(
        &self,
        request: Request<EncodeRequest>,
    ) -> Result<Response<Self::EncodeStream>, Status> {
        let [tokens, width] = self.0;
        let shape = [request.into_inner().prompts.len(), tokens, width];
        let tensor = Tensor::from_f32(shape, vec![0.0; shape.iter().product()]).unwrap();
        let parts: Vec<_> = tensor_parts("embeddings", &tensor)
            .map(|part| Ok(EncodeResponse { event: Some(Event::Embeddings(part)) }))
            .collect();
        Ok(Response::new(tokio_stream::iter(parts)))
    }
}

/// Lacks every adapter the first so many times, then says that it has it, and nothing more.
struct Denoiser {
    lacking: AtomicU32,
    /// Whether variants are made ahead, for which adapters are lacking too.
    prepares: bool,
    puts: Arc<AtomicU32>,
    put: Result<(), Failure>,
}

/// What the denoiser says when it has the adapter.
const HAS_IT: &str = "it is here";

#[tonic::async_trait]
impl DenoiserService for Denoiser {
    type DenoiseStream = tokio_stream::Empty<Result<DenoiseResponse, Status>>;

    async fn denoise(
        &self,
        request: Request<Streaming<DenoiseRequest>>,
    ) -> Result<Response<Self::DenoiseStream>, Status> {
        use cogwheel_api::denoiser::v1::denoise_request::Part;
        let first = request.into_inner().message().await?.and_then(|first| first.part);
        let Some(Part::Header(header)) = first else { return Err(Status::internal("no header")) };
        let left =
            self.lacking.try_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
        if left.is_err() {
            return Err(Status::aborted(HAS_IT));
        }
        let name = header.adapters[0].digest.clone();
        Err(Failure::not_found("adapter", name).into())
    }

    async fn put_adapter(
        &self,
        request: Request<Streaming<PutAdapterRequest>>,
    ) -> Result<Response<PutAdapterResponse>, Status> {
        let mut messages = request.into_inner();
        while messages.message().await?.is_some() {}
        self.puts.fetch_add(1, Ordering::Relaxed);
        self.put.clone()?;
        Ok(Response::new(PutAdapterResponse { known: false }))
    }

    type PrepareVariantStream = tokio_stream::Empty<Result<PrepareVariantResponse, Status>>;

    async fn prepare_variant(
        &self,
        request: Request<PrepareVariantRequest>,
    ) -> Result<Response<Self::PrepareVariantStream>, Status> {
        if !self.prepares {
            return Err(Status::unimplemented("nothing is made ahead"));
        }
        let left =
            self.lacking.try_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
        if left.is_err() {
            return Ok(Response::new(tokio_stream::empty()));
        }
        let name = request.into_inner().adapters[0].digest.clone();
        Err(Failure::not_found("adapter", name).into())
    }
}

fn serve(name: &'static str, routes: Routes) -> Connector {
    let (connector, listener) = memory_listener();
    tokio::spawn(async move {
        let readiness = watch::Sender::new(Readiness::Ready).subscribe();
        let server = Server::new(name, name, routes, readiness);
        server.serve(listener, LIMITS, &Shutdown::new()).await
    });
    connector
}

/// An orchestrator of a text encoder of zeros, this denoiser, and this vae or none, which has the adapter `neon`.
fn orchestrator_of(denoiser: Address, vae: Option<Address>) -> GenerationServiceClient<Channel> {
    let checkpoint = Checkpoint::open(&demo("model")).unwrap();
    let shape = [checkpoint.defaults().max_sequence_length, checkpoint.transformer.text_embed_dim];
    let text_encoder = TextEncoderServiceServer::new(TextEncoder(shape));
    let text_encoder = Address::Memory(serve("text encoder", Routes::new(text_encoder)));
    let neon = RegisteredAdapter::open(&demo("adapters/neon"), None, None, &checkpoint).unwrap();
    let vae = vae.unwrap_or_else(|| text_encoder.clone());
    let settings = Settings {
        model: demo("model"),
        stages: StagesArgs::of(text_encoder, denoiser, vae),
        limits: RequestLimits::default(),
        adapters: AdapterArgs::default(),
        enhancer: EnhancerArgs::default(),
        given_adapters: vec![Arc::new(neon.named("neon".to_owned()))],
        residency: Residency::Apart,
        page: None,
    };
    let (connector, listener) = memory_listener();
    tokio::spawn(async move { run(settings, listener, LIMITS, &Shutdown::new()).await });
    GenerationServiceClient::new(connect(&Address::Memory(connector)))
}

/// What a request with an adapter comes to where the denoiser is like this, and how often the
/// adapter was put there.
async fn generate(lacking: u32, put: Result<(), Failure>) -> (Status, u32) {
    generate_with(lacking, put, false).await
}

/// The same with a denoiser that makes variants ahead or does not.
async fn generate_with(lacking: u32, put: Result<(), Failure>, prepares: bool) -> (Status, u32) {
    let puts = Arc::new(AtomicU32::new(0));
    let denoiser = Denoiser { lacking: lacking.into(), prepares, puts: Arc::clone(&puts), put };
    let denoiser = serve("denoiser", Routes::new(DenoiserServiceServer::new(denoiser)));
    let mut client = orchestrator_of(Address::Memory(denoiser), None);
    let adapters = vec![AdapterChoice { name: "neon".to_owned(), scale: None }];
    let request = GenerateVideoRequest { prompt: "x".to_owned(), adapters, ..Default::default() };
    let mut responses = client.generate_video(request).await.unwrap().into_inner();
    loop {
        match responses.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("expected a failure, found the end"),
            Err(status) => return (status, puts.load(Ordering::Relaxed)),
        }
    }
}

/// Another request's adapters can push it out again, or another replica can answer.
#[tokio::test]
async fn an_adapter_that_is_gone_again_is_put_there_again() {
    let (status, puts) = generate(3, Ok(())).await;
    assert_eq!((status.message(), puts), (format!("denoiser: {HAS_IT}").as_str(), 3));
}

#[tokio::test]
async fn an_adapter_is_handed_over_while_the_prompt_is_encoded() {
    let (status, puts) = generate_with(1, Ok(()), true).await;
    assert_eq!((status.message(), puts), (format!("denoiser: {HAS_IT}").as_str(), 1));
}

#[tokio::test]
async fn a_denoiser_that_never_keeps_an_adapter_is_unavailable_and_the_request_not_to_blame() {
    let (status, puts) = generate(u32::MAX, Ok(())).await;
    assert_eq!((status.code(), puts), (Code::Unavailable, 16), "{status}");
    assert!(status.message().contains("adapter 'neon'"), "{status}");
}

#[tokio::test]
async fn a_file_that_was_written_over_is_the_servers_fault_and_not_the_requests() {
    let refusal = Failure::invalid("header.digest", "expected aa, found bb");
    let (status, puts) = generate(1, Err(refusal)).await;
    assert_eq!((status.code(), puts), (Code::FailedPrecondition, 1), "{status}");
    assert_eq!(status.message(), "adapter 'neon': its file is not what was registered");
}
