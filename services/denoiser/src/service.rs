//! The gRPC side of the denoiser.

mod upload;

use std::sync::Arc;

use clap::Args;
use cogwheel_api::denoiser::v1::denoiser_service_server::{DenoiserService, DenoiserServiceServer};
use cogwheel_api::denoiser::v1::{
    DenoiseRequest, DenoiseResponse, DenoiseSummary, PutAdapterRequest, PutAdapterResponse,
    StepCompleted, denoise_response::Event,
};
use cogwheel_api::tensor_parts;
use cogwheel_engine::{Runtime, Worker};
use cogwheel_models::checkpoint::Checkpoint;
use cogwheel_service::{
    Failure, Fatal, Gate, Limits, Listener, Responder, Responses, Server, Shutdown, StageArgs, end,
    run_on,
};
use cogwheel_tensor::DType;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

use crate::sampling::{self, Sampled, SamplingError, SamplingRequest, sample};
use crate::transformer::{ForwardError, Transformer};
use upload::Upload;

/// Settings of the denoiser.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    #[command(flatten)]
    /// What every stage has.
    pub stage: StageArgs,
}

/// Serves the denoiser until `shutdown` begins, then drains.
///
/// # Errors
/// When the checkpoint is missing or unfit, or the transport fails.
pub async fn run(
    settings: Settings,
    listener: Listener,
    limits: Limits,
    shutdown: &Shutdown,
) -> Result<(), Fatal> {
    let stage = settings.stage;
    let storage = stage.storage()?;
    let checkpoint = Checkpoint::open(&stage.model).map_err(Fatal::usage)?.stored_in(storage);
    checkpoint.served().map_err(Fatal::usage)?;
    let runtime = Runtime::load().map_err(Fatal::failed)?;
    let need = checkpoint.memory_estimate(DType::F32, DType::F32, &checkpoint.default_workload());
    let need = need.transformer;
    let options = stage.session_options(need.weights, need.activations);
    let load = {
        let checkpoint = checkpoint.clone();
        move || -> Result<Transformer, Box<dyn std::error::Error>> {
            let weights = checkpoint.weights_transformer()?;
            Ok(Transformer::load(&runtime, &checkpoint.transformer, &weights, &options)?)
        }
    };
    let worker =
        Arc::new(Worker::spawn(stage.worker_options("denoiser"), load).map_err(Fatal::failed)?);
    let readiness = worker.ready();
    let service = Denoiser {
        worker: Arc::clone(&worker),
        checkpoint: Arc::new(checkpoint),
        gate: stage.gate("the denoiser", shutdown),
        stage,
    };
    let routes = Routes::new(DenoiserServiceServer::new(service));
    let name = "cogwheel.denoiser.v1.DenoiserService";
    let server = Server::new("denoiser", name, routes, readiness);
    let result = server.serve(listener, limits, shutdown).await;
    end(&worker).await;
    result
}

struct Denoiser {
    worker: Arc<Worker<Transformer>>,
    checkpoint: Arc<Checkpoint>,
    stage: StageArgs,
    gate: Gate,
}

#[tonic::async_trait]
impl DenoiserService for Denoiser {
    type DenoiseStream = Responses<DenoiseResponse>;

    async fn denoise(
        &self,
        request: Request<Streaming<DenoiseRequest>>,
    ) -> Result<Response<Self::DenoiseStream>, Status> {
        let call = self.gate.admit(request.metadata())?;
        let mut messages = request.into_inner();
        let receiving = Upload::receive(&self.checkpoint, &self.stage, &mut messages);
        let upload = call.receive(receiving).await?;
        let request = upload.into_request(&self.checkpoint);
        let worker = Arc::clone(&self.worker);
        Ok(call.respond(|responder| async move {
            // The request's half of the stream lives as long as the work, so that a caller that
            // resets it is noticed.
            let _messages = messages;
            denoise(&worker, request, &responder).await
        }))
    }

    async fn put_adapter(
        &self,
        _: Request<Streaming<PutAdapterRequest>>,
    ) -> Result<Response<PutAdapterResponse>, Status> {
        Err(Status::unimplemented("this build takes no adapters"))
    }
}

/// Runs the loop on the model's thread and tells each step.
async fn denoise(
    worker: &Worker<Transformer>,
    request: SamplingRequest,
    responder: &Responder<DenoiseResponse>,
) -> Result<(), Failure> {
    let queued = |position| response(Event::QueuePosition(position));
    let sampled =
        run_on(worker, "the denoiser", responder, queued, move |model, context, events| {
            sample(model, &request, &context.cancellation, &mut |step| {
                tracing::debug!(step = step.step, timestep = step.timestep, "step completed");
                if !events.send(response(Event::StepCompleted(message(step)))) {
                    context.cancellation.cancel();
                }
            })
        });
    let Sampled { latents, total, inside } = sampled.await?;
    for part in tensor_parts("latents", &latents) {
        responder.send(response(Event::Latents(part))).await?;
    }
    let summary = DenoiseSummary {
        runtime_nanos: u64::try_from(inside.as_nanos()).unwrap_or(u64::MAX),
        total_nanos: u64::try_from(total.as_nanos()).unwrap_or(u64::MAX),
        variant: String::new(),
    };
    responder.send(response(Event::Summary(summary))).await
}

fn response(event: Event) -> DenoiseResponse {
    DenoiseResponse { event: Some(event) }
}

/// Numbers of steps are at most those of training, far below `u32::MAX`.
fn message(step: sampling::StepCompleted) -> StepCompleted {
    let count = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
    StepCompleted {
        step: count(step.step),
        num_steps: count(step.num_inference_steps),
        timestep: step.timestep,
        seconds: step.elapsed.as_secs_f64(),
    }
}

impl From<SamplingError> for Failure {
    fn from(error: SamplingError) -> Self {
        match &error {
            _ if error.is_cancelled() => Self::Cancelled,
            SamplingError::Scheduler(_) => Self::invalid("sampling", error),
            SamplingError::NoNegativePrompt => Self::invalid("negative_prompt_embeds", error),
            SamplingError::Prompts { .. } => Self::invalid("prompt_embeds", error),
            SamplingError::InitialLatents { .. } | SamplingError::NotFinite { .. } => {
                Self::invalid("initial_latents", error)
            }
            SamplingError::Forward(ForwardError::Shape { .. } | ForwardError::Positions(_)) => {
                Self::invalid("size", error)
            }
            SamplingError::NeedsImage { .. } | SamplingError::Diverged { .. } => {
                Self::Unfit(error.to_string())
            }
            SamplingError::Forward(_) => Self::Internal(error.to_string()),
        }
    }
}
