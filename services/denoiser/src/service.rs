//! The gRPC side of the denoiser.

mod footprint;
mod put_adapter;
mod settings;
mod upload;

use std::sync::Arc;

use cogwheel_api::denoiser::v1::denoiser_service_server::{DenoiserService, DenoiserServiceServer};
use cogwheel_api::denoiser::v1::{
    DenoiseRequest, DenoiseResponse, DenoiseSummary, PrepareVariantRequest, PrepareVariantResponse,
    PutAdapterRequest, PutAdapterResponse, StepCompleted, VariantMerging, VariantPrepared,
    denoise_response::Event, prepare_variant_response,
};
use cogwheel_api::tensor_parts;
use cogwheel_engine::{Runtime, SessionOptions, Worker};
use cogwheel_lora::MergeError;
use cogwheel_models::{checkpoint::Checkpoint, transformer};
use cogwheel_service::{
    Failure, Fatal, Gate, Limits, Listener, Queue, Responder, Responses, Server, Shutdown,
    StageArgs, StageStatus, end, metrics, run_on, warmed_up,
};
use tokio::sync::{Semaphore, watch};
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

use crate::adapters::Adapters;
use crate::sampling::{self, Sampled, SamplingError, SamplingRequest, sample};
use crate::transformer::{ForwardError, Transformer};
use crate::variants::{Lease, Merging, Prepared, VariantError, Variants, Wanted};
use footprint::Footprint;
use put_adapter::put_adapter;
pub use settings::{AdapterSettings, Settings};
use upload::{Upload, recipe};

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
    let Settings { stage, adapters: adapter_settings } = settings;
    let storage = stage.storage()?;
    let checkpoint = Checkpoint::open(&stage.model).map_err(Fatal::usage)?.stored_in(storage);
    let runtime = Runtime::load().map_err(Fatal::failed)?;
    let checkpoint = checkpoint.with_quantized(stage.compute.is_quantized());
    let (need, _) = checkpoint.memory_need(&checkpoint.default_workload(), |_| false);
    let need = need.transformer;
    let options =
        stage.quantized_options((need.weights, need.activations), transformer::is_quantized);
    let options = SessionOptions { variants: true, ..options };
    let footprint = Footprint::new(&checkpoint, &options);
    let maker = Transformer::variant_maker(&checkpoint.transformer, &options, footprint.stored());
    let variants = Variants::new(
        &checkpoint,
        maker.map_err(Fatal::usage)?,
        adapter_settings.variants(&stage, need, options.threads),
    );
    let variants = Arc::new(variants.map_err(Fatal::usage)?);
    let adapters = Adapters::new(&checkpoint.transformer, adapter_settings.adapter_bytes.bytes);
    let adapters = Arc::new(adapters.map_err(Fatal::failed)?);
    let load = {
        let checkpoint = checkpoint.clone();
        move || -> Result<Transformer, Box<dyn std::error::Error>> {
            let weights = checkpoint.weights_transformer()?;
            Ok(Transformer::load(&runtime, &checkpoint.transformer, &weights, &options)?)
        }
    };
    let stays = !stage.release_after_use;
    let load = warmed_up("denoiser", stays, load, |model| Ok(model.warm_up()?));
    let worker =
        Arc::new(Worker::spawn(stage.worker_options("denoiser"), load).map_err(Fatal::failed)?);
    let readiness = worker.ready();
    // As many as generations, and one of what is pinned at the start.
    let beside = (stage.queue_depth as usize).saturating_add(2);
    let gate = stage.gate("the denoiser", shutdown);
    let status = StageStatus::of(&gate, &worker).with_variants({
        let variants = Arc::clone(&variants);
        move || (variants.resident_ids(), variants.pace())
    });
    let service = Denoiser {
        worker: Arc::clone(&worker),
        checkpoint: Arc::new(checkpoint),
        adapters,
        variants,
        footprint,
        putting: Gate::new("the denoiser's place for adapters", beside, shutdown),
        preparing: Gate::new("the denoiser's place for variants", beside, shutdown),
        puts: Semaphore::new(MAX_PUTS),
        gate,
        stage,
    };
    let model = service.stage.model.clone();
    let service =
        DenoiserServiceServer::new(service).max_decoding_message_size(limits.max_message_bytes);
    let routes = Routes::new(service);
    let name = "cogwheel.denoiser.v1.DenoiserService";
    let server =
        Server::new("denoiser", name, routes, readiness).with_status(status).with_model(&model);
    let result = server.serve(listener, limits, shutdown).await;
    end(&worker).await;
    result
}

/// Adapters whose bytes are taken at once; others wait, and find theirs there if it was the same.
const MAX_PUTS: usize = 4;

struct Denoiser {
    worker: Arc<Worker<Transformer>>,
    checkpoint: Arc<Checkpoint>,
    adapters: Arc<Adapters>,
    variants: Arc<Variants>,
    footprint: Footprint,
    stage: StageArgs,
    gate: Gate,
    /// For adapters that are handed over: not held up by generations, and not in their place. As many may come as
    /// generations, each of which may lack one.
    putting: Gate,
    /// For variants that are made ahead: of pinned ones, and one for each generation.
    preparing: Gate,
    /// Those whose bytes are being taken.
    puts: Semaphore,
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
        let receiving = Upload::receive(self, &mut messages);
        let mut upload = call.receive(receiving).await?;
        // The gate counts this request.
        let alone = self.gate.admitted() <= 1;
        let pinned = upload.pinned.then_some(true);
        let wanted = upload.recipe.take().map(|recipe| Wanted { recipe, pinned, alone });
        let activations = upload.activations;
        let request = upload.into_request(&self.checkpoint);
        let (worker, variants) = (Arc::clone(&self.worker), Arc::clone(&self.variants));
        Ok(call.respond(|responder| async move {
            // The request's half of the stream lives as long as the work, so that a caller that
            // resets it is noticed.
            let _messages = messages;
            let lease = match wanted {
                None => None,
                Some(wanted) => {
                    let lease = |progress| variants.lease(wanted, progress);
                    Some(telling(&responder, lease).await?)
                }
            };
            let memory = (variants, activations);
            denoise(&worker, request, memory, lease, &responder).await
        }))
    }

    async fn put_adapter(
        &self,
        request: Request<Streaming<PutAdapterRequest>>,
    ) -> Result<Response<PutAdapterResponse>, Status> {
        let call = self.putting.admit(request.metadata())?;
        let mut messages = request.into_inner();
        let known = call.receive(put_adapter(&self.adapters, &self.puts, &mut messages)).await?;
        Ok(Response::new(PutAdapterResponse { known }))
    }

    type PrepareVariantStream = Responses<PrepareVariantResponse>;

    async fn prepare_variant(
        &self,
        request: Request<PrepareVariantRequest>,
    ) -> Result<Response<Self::PrepareVariantStream>, Status> {
        let call = self.preparing.admit(request.metadata())?;
        let PrepareVariantRequest { adapters, pinned } = request.into_inner();
        let Some(recipe) = recipe(&self.adapters, &adapters)? else {
            return Err(Failure::invalid("adapters", "expected some that act, found none").into());
        };
        let bytes = self.footprint.variant(&self.checkpoint, &recipe);
        self.stage.check_memory("adapters", self.footprint.weights().saturating_add(bytes))?;
        // The gate counts this call.
        let alone = self.gate.admitted() == 0 && self.preparing.admitted() <= 1;
        let wanted = Wanted { recipe, pinned, alone };
        let variants = Arc::clone(&self.variants);
        Ok(call.respond(|responder| async move {
            let prepare = |progress| variants.prepare(wanted, bytes, progress);
            let prepared = telling(&responder, prepare).await?;
            responder.send(prepared).await
        }))
    }
}

/// Does what may merge a variant, and tells how far that is.
async fn telling<M: From<Merging> + Send + 'static, T, F>(
    responder: &Responder<M>,
    work: impl FnOnce(watch::Sender<Merging>) -> F,
) -> Result<T, Failure>
where
    F: Future<Output = Result<T, VariantError>>,
{
    let (progress, mut merging) = watch::channel(Merging::default());
    // Both at once: a caller that reads slowly does not hold up the merge, nor whoever waits for its end.
    let tell = async {
        while merging.changed().await.is_ok() {
            let now = *merging.borrow_and_update();
            responder.send(now).await?;
        }
        std::future::pending::<Result<T, Failure>>().await
    };
    let done = tokio::select! {
        biased;
        done = work(progress) => done?,
        failed = tell => failed?,
    };
    // The end of a merge that nobody was told of yet.
    let last = merging.has_changed().unwrap_or(true).then(|| *merging.borrow());
    if let Some(last) = last.filter(|last| last.num_tensors > 0) {
        responder.send(last).await?;
    }
    Ok(done)
}

impl From<Merging> for VariantMerging {
    fn from(Merging { tensors, num_tensors }: Merging) -> Self {
        let [tensors, num_tensors] =
            [tensors, num_tensors].map(|count| u32::try_from(count).unwrap_or(u32::MAX));
        Self { tensors, num_tensors }
    }
}

impl From<Merging> for DenoiseResponse {
    fn from(merging: Merging) -> Self {
        response(Event::VariantMerging(merging.into()))
    }
}

impl From<Merging> for PrepareVariantResponse {
    fn from(merging: Merging) -> Self {
        Self { event: Some(prepare_variant_response::Event::VariantMerging(merging.into())) }
    }
}

impl From<Prepared> for PrepareVariantResponse {
    fn from(Prepared { id, byte_length }: Prepared) -> Self {
        let prepared = VariantPrepared { variant: id.to_string(), byte_length };
        Self { event: Some(prepare_variant_response::Event::VariantPrepared(prepared)) }
    }
}

/// Runs the loop on the model's thread and tells each step.
async fn denoise(
    worker: &Worker<Transformer>,
    mut request: SamplingRequest,
    (variants, activations): (Arc<Variants>, u64),
    lease: Option<Lease>,
    responder: &Responder<DenoiseResponse>,
) -> Result<(), Failure> {
    request.variant = lease.as_ref().map(|lease| lease.variant.clone());
    let variant = lease.as_ref().map(|lease| lease.id.to_string()).unwrap_or_default();
    let waited = lease.as_ref().map(|lease| lease.waited).unwrap_or_default();
    let queue = Queue::after(waited, "the denoiser");
    let queued = |position| response(Event::QueuePosition(position));
    let sampled = run_on(worker, queue, responder, queued, move |model, context, events| {
        // Whoever waits for the lease's place need not wait for this caller to read.
        let lease = lease;
        let _running = variants.run(activations, lease.as_ref());
        sample(model, &request, &context.cancellation, &mut |step| {
            tracing::debug!(step = step.step, timestep = step.timestep, "step completed");
            metrics::step(step.elapsed);
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
        variant,
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

impl From<VariantError> for Failure {
    fn from(error: VariantError) -> Self {
        match &error {
            VariantError::Merge(MergeError::Cancelled) => Self::Cancelled,
            VariantError::Merge(MergeError::NotFinite { .. } | MergeError::NoEffect { .. }) => {
                Self::invalid("adapters.scale", error)
            }
            VariantError::Budget { .. } => Self::Exhausted(error.to_string()),
            VariantError::Merge(MergeError::Threads(_))
            | VariantError::Engine(_)
            | VariantError::Cache { .. }
            | VariantError::Thread(_) => Self::Internal(error.to_string()),
            VariantError::Checkpoint(_) | VariantError::Merge(_) => Self::Unfit(error.to_string()),
        }
    }
}

impl From<SamplingError> for Failure {
    fn from(error: SamplingError) -> Self {
        match &error {
            _ if error.is_cancelled() => Self::Cancelled,
            SamplingError::Scheduler(_) => Self::invalid("sampling", error),
            SamplingError::NoNegativePrompt => Self::invalid("negative_prompt_embeds", error),
            SamplingError::Prompts { .. } => Self::invalid("prompt_embeds", error),
            SamplingError::Latents { what, .. } | SamplingError::NotFinite { what, .. } => {
                Self::invalid(&what.replace(' ', "_"), error)
            }
            SamplingError::Strength { .. } => Self::invalid("strength", error),
            SamplingError::Forward(ForwardError::Shape { .. } | ForwardError::Positions(_)) => {
                Self::invalid("size", error)
            }
            SamplingError::Condition { .. } | SamplingError::Diverged { .. } => {
                Self::Unfit(error.to_string())
            }
            SamplingError::Forward(_) => Self::Internal(error.to_string()),
        }
    }
}
