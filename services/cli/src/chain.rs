//! The four services in one process, over in-memory connections: the same code path as four
//! processes, no shortcuts.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cogwheel_api::generation::v1::GenerateVideoRequest;
use cogwheel_denoiser::AdapterSettings;
use cogwheel_models::checkpoint::{Checkpoint, Workload};
use cogwheel_orchestrator::{
    AdapterArgs, EnhancerArgs, InputLimits, RegisteredAdapter, RequestLimits, Residency,
    StagesArgs, WorkLimits,
};
use cogwheel_service::{
    Address, ComputeArgs, Exit, Failure, Fatal, Limits, Listener, MemorySize, Page, Prepack,
    Shutdown, StageArgs, Tiling, TilingArgs, machine_memory, memory_listener,
};
use tokio::task::{JoinError, JoinHandle, JoinSet};

/// Embeddings that are kept for prompts that come again, above all the usual negative one: about
/// thirty of the published models' (226 x 4096 fp32).
const EMBEDDINGS_CACHE_BYTES: usize = 128 << 20;
/// The orchestrator sends a prompt and a negative prompt.
const MAX_PROMPTS: usize = 2;
/// Latents of one video: 256 MiB are those of 3,000 frames at the published models' size.
const MAX_LATENT_BYTES: usize = 256 << 20;
/// Frames of one video: 1 GiB are those of 1,000 frames at the published models' size.
const MAX_FRAME_BYTES: usize = 1 << 30;
/// What runs when a generation of this process ends has no caller any more: it stops by itself
/// within an operator, and is cut after this.
const GRACE: Duration = Duration::from_secs(5);
/// How long a process that is done waits for its services to end.
const END: Duration = Duration::from_secs(10);

/// Settings of the four services.
#[derive(Clone, Debug)]
pub struct ChainSettings {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// How it is computed.
    pub compute: ComputeArgs,
    /// Bytes; the machine's where it is not stated.
    pub memory_limit: Option<u64>,
    /// Whether frames are decoded in tiles.
    pub vae_tiling: Tiling,
    /// The stages' queues.
    pub queue: StageQueue,
    /// How much work a request may be.
    pub work: WorkLimits,
    /// Frames, height and width of the videos, where they are known and not the model's default.
    pub size: [Option<u32>; 3],
    /// Whether videos are made of others where the model leaves that open.
    pub from_video: bool,
    /// Where adapters are and how many.
    pub adapters: AdapterArgs,
    /// How the denoiser keeps what it merges of them.
    pub variants: AdapterSettings,
    /// How large a request and what it brings may be.
    pub inputs: InputLimits,
    /// Who enhances prompts.
    pub enhancer: EnhancerArgs,
    /// Adapters that are registered beside those.
    pub given_adapters: Vec<Arc<RegisteredAdapter>>,
    /// What browsers are given.
    pub page: Option<Page>,
}

/// A stage's queue.
#[derive(Clone, Copy, Debug)]
pub struct StageQueue {
    /// Requests that may wait.
    pub depth: u32,
}

/// The running services.
#[derive(Debug)]
pub struct Chain {
    orchestrator: JoinHandle<Result<(), Fatal>>,
    stages: JoinSet<Result<(), Fatal>>,
    /// Ends the orchestrator.
    shutdown: Shutdown,
    /// Ends the stages: only when the orchestrator, which needs them, has drained.
    stages_shutdown: Shutdown,
}

impl Chain {
    /// Passes a request that the chain would accept; nothing is started.
    ///
    /// # Errors
    /// Every violation.
    pub fn check(settings: &ChainSettings, request: &GenerateVideoRequest) -> Result<(), Failure> {
        let memory_limit = settings.memory_limit.or_else(machine_memory);
        let residency = settings.residency(memory_limit);
        let limits = settings.limits(memory_limit);
        let (checkpoint, adapters) = (&settings.checkpoint, &settings.given_adapters);
        cogwheel_orchestrator::check(request.clone(), checkpoint, adapters, &limits, residency)
    }

    /// Starts the stages, and the orchestrator on `listener` until `shutdown` begins.
    pub fn start(
        settings: ChainSettings,
        listener: Listener,
        limits: Limits,
        shutdown: Shutdown,
    ) -> Self {
        let memory_limit = settings.memory_limit.or_else(machine_memory);
        let residency = settings.residency(memory_limit);
        if residency == Residency::OneByOne {
            tracing::info!(memory_limit, "memory does not hold the stages together: one at a time");
        }
        let stage = StageArgs {
            model: settings.checkpoint.dir.clone(),
            compute: settings.compute(residency, memory_limit),
            queue_depth: settings.queue.depth,
            memory_limit: memory_limit.map(|bytes| MemorySize { bytes }),
            release_after_use: residency == Residency::OneByOne,
        };
        let stages_shutdown = shutdown.beside();
        let mut stages = JoinSet::new();
        let variants = settings.variants(residency, memory_limit);
        let max_prompt_chars = settings.work.max_prompt_chars;
        let tiling = TilingArgs { vae_tiling: settings.vae_tiling };
        type Run = Box<dyn FnOnce(StageArgs, Listener, Limits, Shutdown) -> StageTask>;
        let mut start = |run: Run| {
            let (connector, listener) = memory_listener();
            stages.spawn(run(stage.clone(), listener, limits, stages_shutdown.clone()));
            Address::Memory(connector)
        };
        let text_encoder = start(Box::new(move |stage, listener, limits, shutdown| {
            let settings = cogwheel_text_encoder::Settings {
                stage,
                cache_bytes: EMBEDDINGS_CACHE_BYTES,
                max_prompts: MAX_PROMPTS,
                max_prompt_chars,
            };
            Box::pin(async move {
                cogwheel_text_encoder::run(settings, listener, limits, &shutdown).await
            })
        }));
        let denoiser = start(Box::new(|stage, listener, limits, shutdown| {
            let settings = cogwheel_denoiser::Settings { stage, adapters: variants };
            Box::pin(
                async move { cogwheel_denoiser::run(settings, listener, limits, &shutdown).await },
            )
        }));
        let vae = start(Box::new(move |stage, listener, limits, shutdown| {
            let max_latent_bytes = MAX_LATENT_BYTES;
            let max_frame_bytes = MAX_FRAME_BYTES;
            let settings =
                cogwheel_vae::Settings { stage, max_latent_bytes, max_frame_bytes, tiling };
            Box::pin(async move { cogwheel_vae::run(settings, listener, limits, &shutdown).await })
        }));
        let orchestrator = cogwheel_orchestrator::Settings {
            model: settings.checkpoint.dir.clone(),
            // A stage of this process that has ended does not come back.
            stages: StagesArgs {
                stage_patience_seconds: 0,
                ..StagesArgs::of(text_encoder, denoiser, vae)
            },
            limits: settings.limits(memory_limit),
            adapters: settings.adapters,
            enhancer: settings.enhancer,
            given_adapters: settings.given_adapters,
            residency,
            page: settings.page,
        };
        let orchestrator = tokio::spawn({
            let shutdown = shutdown.clone();
            async move { cogwheel_orchestrator::run(orchestrator, listener, limits, &shutdown).await }
        });
        Self { orchestrator, stages, shutdown, stages_shutdown }
    }

    /// The chain for this process alone, and where to ask it.
    pub fn in_memory(settings: ChainSettings) -> (Self, Address) {
        let (connector, listener) = memory_listener();
        let limits = Limits { max_streams: 16, grace: GRACE, ..Limits::DEFAULT };
        let chain = Self::start(settings, listener, limits, Shutdown::new());
        (chain, Address::Memory(connector))
    }

    /// Waits until the orchestrator has drained, then ends the stages. A service that ends before
    /// its time ends them all.
    ///
    /// # Errors
    /// The first error of a service.
    pub async fn wait(mut self) -> Result<(), Fatal> {
        let mut result = Ok(());
        let drained = loop {
            tokio::select! {
                drained = &mut self.orchestrator => break ended(drained),
                Some(stage) = self.stages.join_next() => {
                    result = result.and(ended(stage));
                    self.shutdown.begin();
                }
            }
        };
        self.stages_shutdown.begin();
        while let Some(stage) = self.stages.join_next().await {
            result = result.and(ended(stage));
        }
        // A stage that failed is the reason for whatever the orchestrator has to say.
        result.and(drained)
    }

    /// Ends the services after a request of this process has ended with `result`.
    ///
    /// # Errors
    /// That of `result`; where a service has failed, its own, which says why.
    pub async fn end(self, result: Result<(), Fatal>) -> Result<(), Fatal> {
        self.shutdown.begin();
        let services = tokio::time::timeout(END, self.wait()).await;
        match (result, services) {
            (Err(fatal), Ok(Err(reason))) if fatal.exit != Exit::Interrupted => Err(reason),
            (result, _) => result,
        }
    }
}

/// A stage at work.
type StageTask = std::pin::Pin<Box<dyn Future<Output = Result<(), Fatal>> + Send>>;

/// Opens a checkpoint and looks at the headers of all its weights.
///
/// # Errors
/// A [`Fatal`] that says what is missing or malformed.
pub fn open_checkpoint(dir: &Path) -> Result<Checkpoint, Fatal> {
    let checkpoint = Checkpoint::open(dir).map_err(Fatal::usage)?;
    checkpoint.weights_text_encoder().map_err(Fatal::usage)?;
    checkpoint.weights_transformer().map_err(Fatal::usage)?;
    checkpoint.weights_vae().map_err(Fatal::usage)?;
    Ok(checkpoint)
}

impl ChainSettings {
    /// What the orchestrator lets pass.
    fn limits(&self, memory_limit: Option<u64>) -> RequestLimits {
        RequestLimits {
            memory_limit: memory_limit.map(|bytes| MemorySize { bytes }),
            work: self.work,
            vae_tiling: self.vae_tiling,
            inputs: self.inputs,
            precision: self.compute.precision,
            enhances_prompts: self.enhancer.prompt_enhancer.is_some(),
        }
    }

    /// Stages are loaded one after another where memory does not hold them together.
    fn residency(&self, memory_limit: Option<u64>) -> Residency {
        match memory_limit {
            Some(limit) if self.together(1, memory_limit) > limit => Residency::OneByOne,
            _ => Residency::Together,
        }
    }

    /// Each stage decides for itself whether its weights fit twice; together they must all fit.
    fn compute(&self, residency: Residency, memory_limit: Option<u64>) -> ComputeArgs {
        let mut compute = self.compute.clone();
        let too_large = memory_limit.is_some_and(|limit| self.together(2, memory_limit) > limit);
        if residency == Residency::Together && compute.prepack == Prepack::Auto && too_large {
            compute.prepack = Prepack::Off;
        }
        compute
    }

    /// Where nobody says how much memory variants may take: half of what the other needs leave.
    fn variants(&self, residency: Residency, memory_limit: Option<u64>) -> AdapterSettings {
        let mut variants = self.variants.clone();
        if let (None, Residency::Together, Some(limit)) =
            (variants.variant_memory, residency, memory_limit)
        {
            let copies =
                if self.compute(residency, memory_limit).prepack == Prepack::Off { 1 } else { 2 };
            let bytes = limit.saturating_sub(self.together(copies, memory_limit)) / 2;
            variants.variant_memory = Some(MemorySize { bytes });
        }
        variants
    }

    /// Bytes of all stages with so many copies of their weights, where there is so much memory.
    fn together(&self, copies: u64, memory_limit: Option<u64>) -> u64 {
        let defaults = self.checkpoint.default_workload();
        let [num_frames, height, width] = self.size.map(|n| n.map(|n| n as usize));
        let workload = Workload {
            num_frames: num_frames.unwrap_or(defaults.num_frames),
            height: height.unwrap_or(defaults.height),
            width: width.unwrap_or(defaults.width),
            ..defaults
        };
        let encoded_frames = self.checkpoint.encoded_frames(workload.num_frames, self.from_video);
        let workload = Workload { encoded_frames, ..workload };
        let in_tiles = |whole| self.vae_tiling.applies(whole, memory_limit);
        let (need, _) = self.checkpoint.memory_need(&workload, in_tiles);
        let further = need.weights().saturating_mul(copies.saturating_sub(1));
        need.together().saturating_add(further)
    }
}

/// A task that panicked is a failure like any other.
fn ended(result: Result<Result<(), Fatal>, JoinError>) -> Result<(), Fatal> {
    result.unwrap_or_else(|error| Err(Fatal::failed(error)))
}
