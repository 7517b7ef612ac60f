//! The gRPC side of the text encoder.

use std::sync::Arc;

use clap::Args;
use cogwheel_api::tensor_parts;
use cogwheel_api::textencoder::v1::text_encoder_service_server::{
    TextEncoderService, TextEncoderServiceServer,
};
use cogwheel_api::textencoder::v1::{
    EncodeRequest, EncodeResponse, EncodeSummary, Truncation, encode_response::Event,
};
use cogwheel_engine::{EngineError, Runtime, Worker};
use cogwheel_models::{checkpoint::Checkpoint, text_encoder};
use cogwheel_service::{
    Failure, Fatal, Gate, Invalid, Limits, Listener, Responder, Responses, Server, Shutdown,
    StageArgs, StageStatus, end,
    metrics::{self, Cache},
    run_on, warmed_up,
};
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use crate::{EmbeddingCache, EncodeError, Encoded, TextEncoder, TextEncoderOptions};

/// Settings of the text encoder.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    #[command(flatten)]
    /// What every stage has.
    pub stage: StageArgs,
    /// Bytes of embeddings kept for prompts that come again
    #[arg(long, env = "COGWHEEL_CACHE_BYTES", value_name = "BYTES", default_value_t = 256 << 20)]
    pub cache_bytes: usize,
    /// Prompts of one request
    #[arg(long, env = "COGWHEEL_MAX_PROMPTS", value_name = "N", default_value_t = 8)]
    pub max_prompts: usize,
    /// Characters of one prompt
    #[arg(long, env = "COGWHEEL_MAX_PROMPT_CHARS", value_name = "N", default_value_t = 20_000)]
    pub max_prompt_chars: usize,
}

/// Serves the text encoder until `shutdown` begins, then drains.
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
    let checkpoint = checkpoint.with_quantized(stage.compute.is_quantized());
    let (need, _) = checkpoint.memory_need(&checkpoint.default_workload(), |_| false);
    let need = (need.text_encoder.weights, need.text_encoder.activations);
    let mut session = stage.quantized_options(need, text_encoder::is_quantized);
    // Packing the weights takes longer than what one forward saves by it.
    session.matrix_unit &= !stage.release_after_use;
    // One process has one model, so its folder is name enough in the cache.
    let options = TextEncoderOptions {
        session,
        cache: EmbeddingCache::new(settings.cache_bytes),
        model_id: checkpoint.dir.display().to_string(),
    };
    let load = {
        let options = options.clone();
        move || TextEncoder::load(&checkpoint, &runtime, &options)
    };
    let stays = !stage.release_after_use;
    let load = warmed_up("text encoder", stays, load, TextEncoder::warm_up);
    let worker = Worker::spawn(stage.worker_options("text encoder"), load);
    let worker = Arc::new(worker.map_err(Fatal::failed)?);
    let readiness = worker.ready();
    let gate = stage.gate("the text encoder", shutdown);
    let status = StageStatus::of(&gate, &worker);
    let service = Prompts { worker: Arc::clone(&worker), options, gate, settings };
    let model = service.settings.stage.model.clone();
    let service =
        TextEncoderServiceServer::new(service).max_decoding_message_size(limits.max_message_bytes);
    let routes = Routes::new(service);
    let name = "cogwheel.textencoder.v1.TextEncoderService";
    let server =
        Server::new("text encoder", name, routes, readiness).with_status(status).with_model(&model);
    let result = server.serve(listener, limits, shutdown).await;
    end(&worker).await;
    result
}

struct Prompts {
    worker: Arc<Worker<TextEncoder>>,
    options: TextEncoderOptions,
    settings: Settings,
    gate: Gate,
}

#[tonic::async_trait]
impl TextEncoderService for Prompts {
    type EncodeStream = Responses<EncodeResponse>;

    async fn encode(
        &self,
        request: Request<EncodeRequest>,
    ) -> Result<Response<Self::EncodeStream>, Status> {
        let call = self.gate.admit(request.metadata())?;
        let prompts = self.check(request.into_inner().prompts)?;
        let texts: Vec<_> = prompts.iter().map(String::as_str).collect();
        let cached = self.options.cache.encoded(&self.options.model_id, &texts);
        let worker = Arc::clone(&self.worker);
        Ok(call.respond(|responder| async move {
            let (encoded, runtime_nanos) = match cached {
                Some(encoded) => {
                    metrics::cache(Cache::PromptEmbeddings, encoded.truncations.len(), 0);
                    (encoded, 0)
                }
                None => encode(&worker, prompts, &responder).await?,
            };
            tell(encoded, runtime_nanos, &responder).await
        }))
    }
}

impl Prompts {
    fn check(&self, prompts: Vec<String>) -> Result<Vec<String>, Failure> {
        let mut invalid = Invalid::default();
        let limit = self.settings.max_prompts;
        if !(1..=limit).contains(&prompts.len()) {
            let found = prompts.len();
            invalid.add("prompts", format!("expected 1 to {limit} prompts, found {found}"));
        }
        let limit = self.settings.max_prompt_chars;
        for (index, prompt) in prompts.iter().enumerate() {
            let found = prompt.chars().count();
            if found > limit {
                let message = format!("expected at most {limit} characters, found {found}");
                invalid.add(&format!("prompts[{index}]"), message);
            }
        }
        invalid.or(prompts)
    }
}

/// Encodes on the model's thread; gives the time inside the runtime as well.
async fn encode(
    worker: &Worker<TextEncoder>,
    prompts: Vec<String>,
    responder: &Responder<EncodeResponse>,
) -> Result<(Encoded, u64), Failure> {
    let queued = |position| response(Event::QueuePosition(position));
    run_on(worker, "the text encoder", responder, queued, move |encoder, context, _| {
        let before = encoder.time_inside();
        let prompts: Vec<_> = prompts.iter().map(String::as_str).collect();
        let encoded = encoder.encode(&prompts, &context.cancellation)?;
        let inside = encoder.time_inside() - before;
        Ok::<_, EncodeError>((encoded, u64::try_from(inside.as_nanos()).unwrap_or(u64::MAX)))
    })
    .await
}

async fn tell(
    encoded: Encoded,
    runtime_nanos: u64,
    responder: &Responder<EncodeResponse>,
) -> Result<(), Failure> {
    let count = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
    let cut = encoded.truncations.iter().enumerate();
    let truncations = cut.filter_map(|(index, truncation)| {
        truncation.as_ref().map(|truncation| Truncation {
            prompt_index: count(index),
            token_count: count(truncation.token_count),
            token_limit: count(truncation.token_limit),
            cut_tokens: count(truncation.cut_tokens),
        })
    });
    let summary = EncodeSummary { truncations: truncations.collect(), runtime_nanos };
    responder.send(response(Event::Summary(summary))).await?;
    for part in tensor_parts("embeddings", &encoded.embeddings) {
        responder.send(response(Event::Embeddings(part))).await?;
    }
    Ok(())
}

fn response(event: Event) -> EncodeResponse {
    EncodeResponse { event: Some(event) }
}

impl From<EncodeError> for Failure {
    fn from(error: EncodeError) -> Self {
        match error {
            EncodeError::Engine(EngineError::Cancelled) => Self::Cancelled,
            EncodeError::Checkpoint(_)
            | EncodeError::Tokenizer(_)
            | EncodeError::Vocabulary { .. }
            | EncodeError::Build(_) => Self::Unfit(error.to_string()),
            EncodeError::Engine(_) | EncodeError::Embeddings { .. } | EncodeError::Tensor(_) => {
                Self::Internal(error.to_string())
            }
        }
    }
}
