//! The gRPC side: the public service, and the clients of the stages.

mod adapters;
mod denoiser;
mod prepare;
mod put_adapter;
mod replicas;
mod text_encoder;
mod vae;
mod variants;

use std::sync::Arc;

use cogwheel_api::adapter::v1::adapter_service_server::AdapterServiceServer;
use cogwheel_api::generation::v1::generation_service_server::{
    GenerationService, GenerationServiceServer,
};
use cogwheel_api::generation::v1::{
    GenerateVideoRequest, GenerateVideoResponse, GetModelRequest, GetModelResponse,
};
use cogwheel_engine::Readiness;
use cogwheel_models::checkpoint::Checkpoint;
use cogwheel_service::{Fatal, Gate, Limits, Listener, Responses, Server, Shutdown, TraceContext};
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::time::Instant;
use tonic::service::Routes;
use tonic::{Request, Response, Status};
use tracing::Instrument as _;

use crate::enhancer::Enhancer;
use crate::generation::{Generation, blocking, reader};
use crate::model::Model;
use crate::pins::Pinning;
use crate::plan::Plan;
use crate::registry::Registry;
use crate::settings::{Residency, Settings, StagesArgs};
pub(crate) use denoiser::DenoiseEvent;
pub(crate) use prepare::PrepareEvent;
pub(crate) use replicas::{Place, Replica, Replicas};
pub(crate) use text_encoder::EncodeEvent;
pub(crate) use vae::{DecodeEvent, FramesEvent};
use variants::KnownVariants;

/// Serves the public API until `shutdown` begins, then drains.
///
/// # Errors
/// When the checkpoint is missing or unfit, or the transport fails.
pub async fn run(
    mut settings: Settings,
    listener: Listener,
    limits: Limits,
    shutdown: &Shutdown,
) -> Result<(), Fatal> {
    let checkpoint = Checkpoint::open(&settings.model).map_err(Fatal::usage)?;
    let folder = settings.model.clone();
    let (max_request_bytes, page) = (settings.limits.inputs.max_request_bytes, settings.page);
    let enhancer = Enhancer::new(&settings.enhancer).map_err(Fatal::usage)?.map(Arc::new);
    settings.limits.enhances_prompts = enhancer.is_some();
    let stages = Arc::new(Stages::new(&settings.stages)?);
    let registry = {
        let (settings, checkpoint) = (settings.clone(), checkpoint.clone());
        move || Registry::open(&settings.adapters, &settings.given_adapters, &checkpoint)
    };
    let registry = tokio::task::spawn_blocking(registry).await.map_err(Fatal::failed)??;
    let registry = Arc::new(registry);
    let pinning =
        Arc::new(Pinning { pins: settings.adapters.pins.clone(), stages: Arc::clone(&stages) });
    let adapters = adapters::Service::new(Arc::clone(&registry), Arc::clone(&pinning), shutdown);
    let registered = Arc::clone(&registry);
    let max_generations = settings.limits.work.max_generations as usize;
    let service = Orchestrator {
        registry,
        model: Arc::new(Model::new(checkpoint, settings.limits.precision)),
        stages: Arc::clone(&stages),
        enhancer,
        openers: Arc::new(Semaphore::new(READERS)),
        readers: Arc::new(Semaphore::new(READERS)),
        gate: Gate::new("the orchestrator", max_generations, shutdown),
        turns: Arc::new(Semaphore::new(match settings.residency {
            Residency::OneByOne => 1,
            Residency::Apart | Residency::Together => max_generations,
        })),
        settings,
    };
    let service =
        GenerationServiceServer::new(service).max_decoding_message_size(max_request_bytes);
    let (ready, readiness) = watch::channel(Readiness::Loading);
    let watching = tokio::spawn(async move {
        stages.watch(ready).await;
        pinning.keep(&registered).await;
    });
    let name = "cogwheel.generation.v1.GenerationService";
    let adapters =
        AdapterServiceServer::new(adapters).max_decoding_message_size(limits.max_message_bytes);
    let routes = Routes::new(service).add_service(adapters);
    let server = Server::new("orchestrator", name, routes, readiness)
        .with("cogwheel.adapter.v1.AdapterService")
        .with_model(&folder)
        .waits_for("each of its stages to serve")
        .with_page(page);
    let result = server.serve(listener, limits, shutdown).await;
    watching.abort();
    result
}

/// The three stages.
#[derive(Debug)]
pub(crate) struct Stages {
    pub(crate) text_encoder: Replicas,
    pub(crate) denoiser: Replicas,
    pub(crate) vae: Replicas,
    pub(crate) variants: KnownVariants,
}

impl Stages {
    /// Needs a runtime, on which replicas are followed.
    fn new(args: &StagesArgs) -> Result<Self, Fatal> {
        let dialer = args.dialer()?;
        Ok(Self {
            text_encoder: Replicas::at("text encoder", &args.text_encoder, args, &dialer),
            denoiser: Replicas::at("denoiser", &args.denoiser, args, &dialer),
            vae: Replicas::at("vae", &args.vae, args, &dialer),
            variants: KnownVariants::default(),
        })
    }

    /// Tells ready once each stage has a replica that serves. It stays so: a stage that goes away later is a matter of the
    /// requests that need it, not of this process.
    async fn watch(&self, readiness: watch::Sender<Readiness>) {
        let Self { text_encoder, denoiser, vae, .. } = self;
        tokio::join!(text_encoder.serves(), denoiser.serves(), vae.serves());
        readiness.send_replace(Readiness::Ready);
    }

    /// Stages that nobody serves.
    #[cfg(test)]
    pub(crate) fn nowhere() -> Self {
        let (connector, _) = cogwheel_service::memory_listener();
        let address = cogwheel_service::Address::Memory(connector);
        Self::new(&StagesArgs::of(address.clone(), address.clone(), address)).unwrap()
    }
}

/// What every call of a stage has of the generation it belongs to.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    /// Names the generation in everybody's logs.
    pub(crate) trace: TraceContext,
    /// When the caller stops waiting.
    deadline: Option<Instant>,
}

impl Terms {
    /// Of what this process does by itself.
    pub(crate) fn of_nobody() -> Self {
        Self { trace: TraceContext::begin(), deadline: None }
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        self.trace.mark(request.metadata_mut());
        if let Some(deadline) = self.deadline {
            request.set_timeout(deadline.saturating_duration_since(Instant::now()));
        }
        request
    }
}

/// Threads that read images and videos at once: each takes memory by the pixels of a frame.
const READERS: usize = 4;

struct Orchestrator {
    registry: Arc<Registry>,
    model: Arc<Model>,
    stages: Arc<Stages>,
    enhancer: Option<Arc<Enhancer>>,
    gate: Gate,
    /// Generations that may use the stages at once; the others wait in their order.
    turns: Arc<Semaphore>,
    /// Who opens images and videos, and who reads them for the vae: these wait for its queue, those do not.
    openers: Arc<Semaphore>,
    readers: Arc<Semaphore>,
    settings: Settings,
}

#[tonic::async_trait]
impl GenerationService for Orchestrator {
    async fn get_model(
        &self,
        _: Request<GetModelRequest>,
    ) -> Result<Response<GetModelResponse>, Status> {
        let enhances_prompts = self.enhancer.is_some();
        Ok(Response::new(GetModelResponse { enhances_prompts, ..self.model.describe() }))
    }

    type GenerateVideoStream = Responses<GenerateVideoResponse>;

    async fn generate_video(
        &self,
        request: Request<GenerateVideoRequest>,
    ) -> Result<Response<Self::GenerateVideoStream>, Status> {
        // Whoever was admitted before and is not done yet.
        let ahead = self.gate.admitted();
        let call = self.gate.admit(request.metadata())?;
        let trace = TraceContext::of_call(request.metadata());
        let (limits, residency) = (self.settings.limits.clone(), self.settings.residency);
        let (adapters, model) = (self.registry.adapters(), Arc::clone(&self.model));
        let request = request.into_inner();
        let planning = async {
            // Without an image or video it takes microseconds.
            if request.image.is_none() && request.video.is_none() {
                return Plan::new(request, &model, &adapters, &limits, residency);
            }
            let reader = reader(&self.openers).await?;
            // Dropped with this future where the caller leaves.
            let (caller, reading) = oneshot::channel::<()>();
            let plan = blocking(move || {
                // Held as long as the thread runs, whoever leaves.
                let _reader = reader;
                let plan = Plan::new(request, &model, &adapters, &limits, residency)?;
                if let Some(given) = &plan.given {
                    let num_frames = plan.size.num_frames as usize;
                    given.look_through(num_frames, || !caller.is_closed())?;
                }
                Ok(plan)
            })
            .await;
            drop(reading);
            plan
        };
        let plan = call.receive(planning).await?;
        let pinned = self.settings.adapters.pins.iter().any(|pin| pin.is_of(&plan.adapters));
        let span = tracing::info_span!("generation", id = %trace.id());
        let terms = Terms { trace, deadline: call.deadline() };
        let turns = Arc::clone(&self.turns);
        let (stages, model) = (Arc::clone(&self.stages), Arc::clone(&self.model));
        let (enhancer, readers) = (self.enhancer.clone(), Arc::clone(&self.readers));
        let _entered = span.clone().entered();
        Ok(call.respond(|responder| {
            async move {
                let (stages, model, responder) = (&*stages, &*model, &responder);
                let enhancer = enhancer.as_deref();
                let generation = Generation {
                    plan,
                    pinned,
                    model,
                    enhancer,
                    stages,
                    responder,
                    terms,
                    readers: &readers,
                };
                generation.run(&turns, ahead).await
            }
            .instrument(span)
        }))
    }
}

#[cfg(test)]
mod tests;
