//! The gRPC side: the public service, and the clients of the stages.

mod denoiser;
mod text_encoder;
mod vae;

use std::sync::Arc;
use std::time::Instant;

use cogwheel_api::TensorInbox;
use cogwheel_api::generation::v1::generation_service_server::{
    GenerationService, GenerationServiceServer,
};
use cogwheel_api::generation::v1::{
    GenerateVideoRequest, GenerateVideoResponse, GetModelRequest, GetModelResponse,
};
use cogwheel_api::tensor::v1::TensorPart;
use cogwheel_engine::Readiness;
use cogwheel_models::checkpoint::Checkpoint;
use cogwheel_service::{
    Address, Failure, Fatal, Limits, Listener, Responses, Server, Shutdown, connect, deadline_of,
    respond,
};
use cogwheel_tensor::{DType, Tensor};
use tokio::sync::{Semaphore, watch};
use tonic::service::Routes;
use tonic::{Request, Response, Status};
use tracing::Instrument as _;

use crate::generation::Generation;
use crate::model::Model;
use crate::plan::Plan;
use crate::settings::{Residency, Settings};
pub(crate) use denoiser::DenoiseEvent;
pub(crate) use text_encoder::EncodeEvent;
pub(crate) use vae::DecodeEvent;

/// Serves the public API until `shutdown` begins, then drains.
///
/// # Errors
/// When the checkpoint is not one this build serves, or the transport fails.
pub async fn run(
    settings: Settings,
    listener: Listener,
    limits: Limits,
    shutdown: &Shutdown,
) -> Result<(), Fatal> {
    let checkpoint = Checkpoint::open(&settings.model).map_err(Fatal::usage)?;
    checkpoint.served().map_err(Fatal::usage)?;
    let max_request_bytes = settings.limits.max_request_bytes;
    let service = Orchestrator {
        model: Arc::new(Model::new(checkpoint)),
        stages: Arc::new(Stages::new(&settings)),
        generations: Arc::new(Semaphore::new(settings.limits.max_generations)),
        turns: Arc::new(Semaphore::new(match settings.residency {
            Residency::OneByOne => 1,
            Residency::Apart | Residency::Together => settings.limits.max_generations,
        })),
        settings,
        shutdown: shutdown.clone(),
    };
    let service =
        GenerationServiceServer::new(service).max_decoding_message_size(max_request_bytes);
    // It needs nothing but its configs: that the stages are there is their own health's to tell.
    let (_ready, readiness) = watch::channel(Readiness::Ready);
    let name = "cogwheel.generation.v1.GenerationService";
    let server = Server::new("orchestrator", name, Routes::new(service), readiness);
    server.serve(listener, limits, shutdown).await
}

/// The clients of the three stages. Each connects when it is first used.
#[derive(Debug)]
pub(crate) struct Stages {
    text_encoder: Peer,
    denoiser: Peer,
    vae: Peer,
}

/// A stage's channel and what it is called in messages.
#[derive(Debug)]
struct Peer {
    stage: &'static str,
    address: String,
    channel: tonic::transport::Channel,
}

impl Stages {
    fn new(settings: &Settings) -> Self {
        let peer = |stage, address: &Address| Peer {
            stage,
            address: address.to_string(),
            channel: connect(address),
        };
        Self {
            text_encoder: peer("text encoder", &settings.text_encoder),
            denoiser: peer("denoiser", &settings.denoiser),
            vae: peer("vae", &settings.vae),
        }
    }
}

impl Peer {
    /// What the stage answered.
    fn failure(&self, status: Status) -> Failure {
        Failure::of_stage(self.stage, &self.address, status)
    }

    /// The stage broke the contract.
    fn broken(&self, what: &impl std::fmt::Display) -> Failure {
        Failure::Internal(format!("{}: {what}", self.stage))
    }

    /// Takes the next part; gives the tensor when it is complete and of this shape.
    fn receive(
        &self,
        inbox: &mut TensorInbox,
        part: TensorPart,
        shape: &[usize],
    ) -> Result<Option<Tensor>, Failure> {
        let complete = inbox.push(part).map_err(|error| self.broken(&error))?;
        let Some(tensor) = complete.and_then(|name| inbox.take(&name)) else { return Ok(None) };
        if tensor.dtype() == DType::F32 && tensor.shape() == shape {
            return Ok(Some(tensor));
        }
        let found = format!("{} {:?}", tensor.dtype(), tensor.shape());
        Err(self.broken(&format!("expected a tensor of {shape:?} in F32, found {found}")))
    }
}

/// A call that ends when the caller stops waiting.
fn request<T>(message: T, deadline: Option<Instant>) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(deadline) = deadline {
        request.set_timeout(deadline.saturating_duration_since(Instant::now()));
    }
    request
}

struct Orchestrator {
    model: Arc<Model>,
    stages: Arc<Stages>,
    /// A permit lives as long as its generation.
    generations: Arc<Semaphore>,
    /// Generations that may use the stages at once; the others wait in their order.
    turns: Arc<Semaphore>,
    settings: Settings,
    shutdown: Shutdown,
}

#[tonic::async_trait]
impl GenerationService for Orchestrator {
    async fn get_model(
        &self,
        _: Request<GetModelRequest>,
    ) -> Result<Response<GetModelResponse>, Status> {
        Ok(Response::new(self.model.describe()))
    }

    type GenerateVideoStream = Responses<GenerateVideoResponse>;

    async fn generate_video(
        &self,
        request: Request<GenerateVideoRequest>,
    ) -> Result<Response<Self::GenerateVideoStream>, Status> {
        let _admission = self.shutdown.admit()?;
        let timeout = deadline_of(request.metadata());
        let (limits, residency) = (&self.settings.limits, self.settings.residency);
        let plan = Plan::new(request.into_inner(), &self.model, limits, residency)?;
        let permit = Arc::clone(&self.generations).try_acquire_owned().map_err(|_| {
            Failure::Full { what: "the orchestrator", limit: limits.max_generations }
        })?;
        let generation_id = format!("{:016x}", fastrand::u64(..));
        let span = tracing::info_span!("generation", id = generation_id);
        // Whoever was admitted before and is not done yet.
        let ahead = limits.max_generations - self.generations.available_permits() - 1;
        let turns = Arc::clone(&self.turns);
        let stages = Arc::clone(&self.stages);
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        let _entered = span.clone().entered();
        Ok(respond(&self.shutdown, timeout, |responder| {
            async move {
                let _permit = permit;
                let generation =
                    Generation { plan, stages: &stages, responder: &responder, deadline };
                generation.run(generation_id, &turns, ahead).await
            }
            .instrument(span)
        }))
    }
}
