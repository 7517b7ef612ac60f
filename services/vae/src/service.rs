//! The gRPC side of the vae.

mod decode;
mod encode;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args;
use cogwheel_api::vae::v1::vae_service_server::{VaeService, VaeServiceServer};
use cogwheel_api::vae::v1::{DecodeRequest, DecodeResponse, EncodeRequest, EncodeResponse};
use cogwheel_diffusion::geometry::Tiles;
use cogwheel_engine::{EngineError, Runtime, Worker};
use cogwheel_models::checkpoint::{Checkpoint, StageMemory, Workload};
use cogwheel_service::{
    Failure, Fatal, Gate, Limits, Listener, MemoryNeed, Responses, Server, Shutdown, StageArgs,
    StageStatus, Tiling, TilingArgs, end, warmed_up,
};
use tokio::sync::Semaphore;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

use crate::VaeError;
use crate::autoencoder::Autoencoder;

/// Settings of the vae.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Stage")]
pub struct Settings {
    #[command(flatten)]
    /// What every stage has.
    pub stage: StageArgs,
    /// Bytes of the latents of one request
    #[arg(long, env = "COGWHEEL_MAX_LATENT_BYTES", value_name = "BYTES", default_value_t = 256 << 20)]
    pub max_latent_bytes: usize,
    /// Bytes of the frames of all requests that are to be encoded, three a pixel; one with more is refused, others wait
    #[arg(long, env = "COGWHEEL_MAX_FRAME_BYTES", value_name = "BYTES", default_value_t = 1 << 30)]
    pub max_frame_bytes: usize,
    #[command(flatten)]
    /// Whether frames are worked on in tiles.
    pub tiling: TilingArgs,
}

/// Serves the vae until `shutdown` begins, then drains.
///
/// # Errors
/// When the checkpoint is missing or unfit, or the transport fails.
pub async fn run(
    settings: Settings,
    listener: Listener,
    limits: Limits,
    shutdown: &Shutdown,
) -> Result<(), Fatal> {
    let stage = &settings.stage;
    let storage = stage.storage()?;
    let checkpoint = Checkpoint::open(&stage.model).map_err(Fatal::usage)?.stored_in(storage);
    let runtime = Runtime::load().map_err(Fatal::failed)?;
    let (_, need) = tiling("decoding", &checkpoint, &settings, &checkpoint.default_workload());
    let options = stage.session_options(need.weights, need.activations);
    let load = {
        let checkpoint = checkpoint.clone();
        // What is loaded for one request is loaded by it.
        move || Ok::<_, VaeError>(Autoencoder::new(&checkpoint, &runtime, &options))
    };
    let load = warmed_up("vae", !stage.release_after_use, load, |model| model.decoder()?.warm_up());
    let worker = Arc::new(Worker::spawn(stage.worker_options("vae"), load).map_err(Fatal::failed)?);
    let readiness = worker.ready();
    let gate = stage.gate("the vae", shutdown);
    let status = StageStatus::of(&gate, &worker);
    let service = Vae {
        worker: Arc::clone(&worker),
        checkpoint: Arc::new(checkpoint),
        gate,
        frame_room: encode::room(&settings),
        has_encoded: AtomicBool::new(false),
        settings,
    };
    let model = service.settings.stage.model.clone();
    let service =
        VaeServiceServer::new(service).max_decoding_message_size(limits.max_message_bytes);
    let routes = Routes::new(service);
    let name = "cogwheel.vae.v1.VaeService";
    let server = Server::new("vae", name, routes, readiness).with_status(status).with_model(&model);
    let result = server.serve(listener, limits, shutdown).await;
    end(&worker).await;
    result
}

struct Vae {
    worker: Arc<Worker<Autoencoder>>,
    checkpoint: Arc<Checkpoint>,
    settings: Settings,
    gate: Gate,
    /// For the frames of all requests.
    frame_room: Arc<Semaphore>,
    /// Whether there is an encoder beside the decoder by now, or will be soon.
    has_encoded: AtomicBool,
}

#[tonic::async_trait]
impl VaeService for Vae {
    type DecodeStream = Responses<DecodeResponse>;
    type EncodeStream = Responses<EncodeResponse>;

    async fn decode(
        &self,
        request: Request<Streaming<DecodeRequest>>,
    ) -> Result<Response<Self::DecodeStream>, Status> {
        let call = self.gate.admit(request.metadata())?;
        let mut messages = request.into_inner();
        let receiving = decode::receive(&mut messages, self.settings.max_latent_bytes);
        let latents = call.receive(receiving).await?;
        let has_encoded = self.has_encoded.load(Ordering::Relaxed);
        let tiling = decode::check(&self.checkpoint, &self.settings, &latents, has_encoded)?;
        let worker = Arc::clone(&self.worker);
        Ok(call.respond(|responder| async move {
            // The request's half of the stream lives as long as the work, so that a caller that
            // resets it is noticed.
            let _messages = messages;
            decode::run(&worker, latents, tiling, &responder).await
        }))
    }

    async fn encode(
        &self,
        request: Request<Streaming<EncodeRequest>>,
    ) -> Result<Response<Self::EncodeStream>, Status> {
        let call = self.gate.admit(request.metadata())?;
        let mut messages = request.into_inner();
        let (checkpoint, settings) = (&self.checkpoint, &self.settings);
        let receiving =
            encode::Upload::receive(&mut messages, checkpoint, settings, &self.frame_room);
        let upload = call.receive(receiving).await?;
        // From now on the encoder has memory, too.
        self.has_encoded.store(true, Ordering::Relaxed);
        let (worker, checkpoint) = (Arc::clone(&self.worker), Arc::clone(&self.checkpoint));
        Ok(call.respond(|responder| async move {
            let _messages = messages;
            encode::run(&worker, &checkpoint, upload, &responder).await
        }))
    }
}

/// Tiles to work in, and why where nobody asked for them.
struct InTiles {
    tiles: Tiles,
    reason: Option<String>,
}

/// Whether `what` is done in tiles, and the memory that takes.
fn tiling(
    what: &str,
    checkpoint: &Checkpoint,
    settings: &Settings,
    workload: &Workload,
) -> (Option<InTiles>, StageMemory) {
    let limit = settings.stage.memory();
    let mut whole = 0;
    let (need, is_tiled) = checkpoint.memory_need(workload, |need| {
        whole = need;
        settings.tiling.vae_tiling.applies(need, limit)
    });
    let tiling = is_tiled.then(|| InTiles {
        tiles: checkpoint.tiles(),
        reason: limit.filter(|_| settings.tiling.vae_tiling == Tiling::Auto).map(|limit| {
            let memory = MemoryNeed { need: whole, limit };
            format!("{what} in tiles: {what} whole frames {memory}")
        }),
    });
    (tiling, need.vae)
}

impl From<VaeError> for Failure {
    fn from(error: VaeError) -> Self {
        match error {
            VaeError::Engine(EngineError::Cancelled) => Self::Cancelled,
            VaeError::Latents { .. } => Self::invalid("latents", error),
            VaeError::Frames { .. } => Self::invalid("frames", error),
            VaeError::Checkpoint(_) | VaeError::Build(_) => Self::Unfit(error.to_string()),
            VaeError::Engine(_) | VaeError::Tile { .. } | VaeError::Tensor(_) => {
                Self::Internal(error.to_string())
            }
        }
    }
}
