//! The gRPC side of the vae.

use std::ops::ControlFlow;
use std::sync::Arc;

use clap::Args;
use cogwheel_api::vae::v1::vae_service_server::{VaeService, VaeServiceServer};
use cogwheel_api::vae::v1::{
    DecodeRequest, DecodeResponse, DecodeSummary, TilesDecoded, decode_response::Event,
};
use cogwheel_api::{TensorInbox, tensor_parts};
use cogwheel_diffusion::geometry::{self, Tiles};
use cogwheel_engine::{EngineError, Runtime, Worker};
use cogwheel_models::checkpoint::{Checkpoint, StageMemory, Workload};
use cogwheel_service::{
    Failure, Fatal, Gate, Limits, Listener, MemoryNeed, Responder, Responses, Server, Shutdown,
    StageArgs, Tiling, TilingArgs, end, receive, run_on,
};
use cogwheel_tensor::{DType, Tensor};
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

use crate::VaeError;
use crate::decoder::{Decoded, Decoder};

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
    #[command(flatten)]
    /// Whether frames are decoded in tiles.
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
    let (_, need) = decoding(&checkpoint, &settings, checkpoint.default_workload());
    let options = stage.session_options(need.weights, need.activations);
    let load = {
        let checkpoint = checkpoint.clone();
        move || Decoder::load(&checkpoint, &runtime, &options)
    };
    let worker = Arc::new(Worker::spawn(stage.worker_options("vae"), load).map_err(Fatal::failed)?);
    let readiness = worker.ready();
    let service = Vae {
        worker: Arc::clone(&worker),
        checkpoint: Arc::new(checkpoint),
        gate: stage.gate("the vae", shutdown),
        settings,
    };
    let routes = Routes::new(VaeServiceServer::new(service));
    let name = "cogwheel.vae.v1.VaeService";
    let server = Server::new("vae", name, routes, readiness);
    let result = server.serve(listener, limits, shutdown).await;
    end(&worker).await;
    result
}

struct Vae {
    worker: Arc<Worker<Decoder>>,
    checkpoint: Arc<Checkpoint>,
    settings: Settings,
    gate: Gate,
}

#[tonic::async_trait]
impl VaeService for Vae {
    type DecodeStream = Responses<DecodeResponse>;

    async fn decode(
        &self,
        request: Request<Streaming<DecodeRequest>>,
    ) -> Result<Response<Self::DecodeStream>, Status> {
        let call = self.gate.admit(request.metadata())?;
        let mut messages = request.into_inner();
        let receiving = receive_latents(&mut messages, self.settings.max_latent_bytes);
        let latents = call.receive(receiving).await?;
        let tiling = self.check(&latents)?;
        let worker = Arc::clone(&self.worker);
        Ok(call.respond(|responder| async move {
            // The request's half of the stream lives as long as the work, so that a caller that
            // resets it is noticed.
            let _messages = messages;
            decode(&worker, latents, tiling, &responder).await
        }))
    }
}

impl Vae {
    /// Refuses latents of another model, and those whose frames would not fit the memory; says how to decode the others.
    fn check(&self, latents: &Tensor) -> Result<Option<InTiles>, Failure> {
        let channels = self.checkpoint.vae.latent_channels;
        let &[frames, found, height, width] = latents.shape() else {
            let message = format!("expected four dimensions, found {:?}", latents.shape());
            return Err(Failure::invalid("latents", message));
        };
        if found != channels || latents.is_empty() || latents.dtype() != DType::F32 {
            let message = format!(
                "expected F32 [frames, {channels}, height, width], found {} {:?}",
                latents.dtype(),
                latents.shape()
            );
            return Err(Failure::invalid("latents", message));
        }
        let values = latents.as_f32().map_err(|error| Failure::invalid("latents", error))?;
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            let message = format!("expected finite numbers, found {} at element {at}", values[at]);
            return Err(Failure::invalid("latents", message));
        }
        let pixels = self.checkpoint.vae.spatial_compression_ratio();
        let workload = Workload {
            batch: 1,
            num_frames: geometry::decoded_frames(
                frames,
                self.checkpoint.vae.temporal_compression_ratio,
            ),
            height: height.saturating_mul(pixels),
            width: width.saturating_mul(pixels),
            tiled: false,
        };
        let (tiling, need) = decoding(&self.checkpoint, &self.settings, workload);
        self.settings.stage.check_memory("latents", need.total())?;
        Ok(tiling)
    }
}

/// Tiles to decode in, and why where nobody asked for them.
struct InTiles {
    tiles: Tiles,
    reason: Option<String>,
}

/// How a workload is decoded, and the memory that takes.
fn decoding(
    checkpoint: &Checkpoint,
    settings: &Settings,
    workload: Workload,
) -> (Option<InTiles>, StageMemory) {
    let limit = settings.stage.memory();
    let mut whole = 0;
    let (need, is_tiled) = checkpoint.memory_need(&workload, |need| {
        whole = need;
        settings.tiling.vae_tiling.applies(need, limit)
    });
    let tiling = is_tiled.then(|| InTiles {
        tiles: checkpoint.tiles(),
        reason: limit.filter(|_| settings.tiling.vae_tiling == Tiling::Auto).map(|limit| {
            let memory = MemoryNeed { need: whole, limit };
            format!("decoding in tiles: decoding whole frames {memory}")
        }),
    });
    (tiling, need.vae_decoder)
}

/// Receives the one tensor of a request, up to the caller's half-close.
async fn receive_latents(
    messages: &mut Streaming<DecodeRequest>,
    limit: usize,
) -> Result<Tensor, Failure> {
    let invalid = |error| Failure::invalid("latents", error);
    let mut inbox = TensorInbox::new(&["latents"], limit);
    while let Some(message) = receive(messages).await? {
        inbox.push(message.latents.unwrap_or_default()).map_err(invalid)?;
    }
    inbox.finish().map_err(invalid)?;
    inbox
        .take("latents")
        .ok_or_else(|| Failure::invalid("latents", "expected a tensor, found none"))
}

/// Decodes on the model's thread and sends each chunk's frames as they come.
async fn decode(
    worker: &Worker<Decoder>,
    latents: Tensor,
    tiling: Option<InTiles>,
    responder: &Responder<DecodeResponse>,
) -> Result<(), Failure> {
    let queued = |position| response(Event::QueuePosition(position));
    let summary = run_on(worker, "the vae", responder, queued, move |decoder, context, events| {
        let before = decoder.time_inside();
        let mut num_frames = 0;
        let tiles = tiling.as_ref().map(|tiling| tiling.tiles);
        let mut reason = tiling.and_then(|tiling| tiling.reason);
        let on_decoded = |decoded| {
            let all_sent = match decoded {
                Decoded::Tiles { tiles, num_tiles } => events.send(response(Event::TilesDecoded(
                    tiles_decoded(tiles, num_tiles, reason.take().unwrap_or_default()),
                ))),
                Decoded::Frames { frames, .. } => {
                    num_frames += frames.shape().first().copied().unwrap_or_default();
                    tensor_parts("frames", &frames)
                        .all(|part| events.send(response(Event::Frames(part))))
                }
            };
            if all_sent { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        decoder.decode(&latents, tiles, on_decoded, &context.cancellation)?;
        let inside = decoder.time_inside() - before;
        Ok::<_, VaeError>(DecodeSummary {
            num_frames: u32::try_from(num_frames).unwrap_or(u32::MAX),
            runtime_nanos: u64::try_from(inside.as_nanos()).unwrap_or(u64::MAX),
        })
    });
    let summary = summary.await?;
    responder.send(response(Event::Summary(summary))).await
}

fn tiles_decoded(tiles: usize, num_tiles: usize, reason: String) -> TilesDecoded {
    let count = |count| u32::try_from(count).unwrap_or(u32::MAX);
    TilesDecoded { tiles: count(tiles), num_tiles: count(num_tiles), reason }
}

fn response(event: Event) -> DecodeResponse {
    DecodeResponse { event: Some(event) }
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
