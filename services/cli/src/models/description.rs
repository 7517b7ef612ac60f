use cogwheel_diffusion::scheduler::SchedulerKind;
use cogwheel_models::checkpoint::{
    Checkpoint, CheckpointError, Conditioning, StageMemory, Workload, folder_name,
};
use cogwheel_tensor::DType;
use serde::Serialize;

/// What a checkpoint folder holds.
#[derive(Clone, Debug, Serialize)]
pub struct Description {
    /// Name of the folder.
    pub name: String,
    /// Family in words.
    pub family: String,
    /// What a video is made from.
    pub takes: &'static [&'static str],
    /// What a request that leaves things open gets.
    pub defaults: Defaults,
    /// Tokens of a prompt; longer ones are cut.
    pub max_text_tokens: usize,
    /// Parameters of each part.
    pub parameters: Part<u64>,
    /// What the weights are on disk; absent when they are unfit.
    pub weights: Option<Weights>,
    /// Memory needed at the default size with guidance, in each precision.
    pub memory: Vec<Memory>,
}

/// What a request that leaves things open gets.
#[derive(Clone, Debug, Serialize)]
pub struct Defaults {
    /// Pixels.
    pub width: usize,
    /// Pixels.
    pub height: usize,
    /// Frames.
    pub num_frames: usize,
    /// Frames per second.
    pub fps: usize,
    /// Steps of the sampling loop.
    pub num_inference_steps: usize,
    /// Classifier-free guidance.
    pub guidance_scale: f64,
    /// `ddim` or `dpm`.
    pub scheduler: &'static str,
    /// Whether guidance varies with the timestep.
    pub dynamic_cfg: bool,
}

/// One of something for each part.
#[derive(Clone, Debug, Serialize)]
pub struct Part<T> {
    /// The text encoder.
    pub text_encoder: T,
    /// The transformer.
    pub transformer: T,
    /// The autoencoder.
    pub vae: T,
}

/// What the weights are on disk.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct Weights(pub Part<OnDisk>);

/// What the weights of one part are on disk.
#[derive(Clone, Debug, Serialize)]
pub struct OnDisk {
    /// The dtype that most bytes are in.
    pub dtype: &'static str,
    /// Of all tensors.
    pub bytes: u64,
}

/// Memory needed in one precision, in bytes.
#[derive(Clone, Debug, Serialize)]
pub struct Memory {
    /// As `--precision` names it.
    pub precision: &'static str,
    /// Each stage alone.
    pub stages: Part<StageBytes>,
    /// The vae in tiles.
    pub vae_in_tiles: StageBytes,
    /// All stages at once.
    pub together: u64,
    /// The largest stage, when they are loaded one after another.
    pub one_by_one: u64,
    /// The same with the vae in tiles.
    pub one_by_one_in_tiles: u64,
}

/// Memory of one stage, in bytes.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct StageBytes {
    /// Of its weights.
    pub weights: u64,
    /// Of what it computes, an estimate.
    pub activations: u64,
}

/// Precisions with the dtypes in which weights are held on the CPU, which computes in fp32 whatever the values are
/// rounded to; of int8 those of linear layers.
const PRECISIONS: [(&str, DType); 4] =
    [("fp32", DType::F32), ("fp16", DType::F32), ("bf16", DType::F32), ("int8", DType::I8)];

impl Description {
    /// What the configs say; the weights are left open.
    pub fn of(checkpoint: &Checkpoint) -> Self {
        let defaults = checkpoint.defaults();
        let parameters = checkpoint.parameter_count();
        Self {
            name: folder_name(&checkpoint.dir),
            family: checkpoint.family().to_string(),
            takes: match checkpoint.family().conditioning {
                Conditioning::Text => &["a prompt", "a video to start from if wanted"],
                Conditioning::Image => &["a prompt", "an image"],
                Conditioning::Control => &["a prompt", "a control video"],
            },
            defaults: Defaults {
                width: defaults.width,
                height: defaults.height,
                num_frames: defaults.num_frames,
                fps: defaults.fps,
                num_inference_steps: defaults.num_inference_steps,
                guidance_scale: defaults.guidance_scale,
                scheduler: match defaults.scheduler {
                    SchedulerKind::Ddim => "ddim",
                    SchedulerKind::Dpm => "dpm",
                },
                dynamic_cfg: defaults.use_dynamic_cfg,
            },
            max_text_tokens: defaults.max_sequence_length,
            parameters: Part {
                text_encoder: parameters.text_encoder,
                transformer: parameters.transformer,
                vae: parameters.vae,
            },
            weights: None,
            memory: PRECISIONS.iter().map(|precision| memory(checkpoint, *precision)).collect(),
        }
    }
}

impl Weights {
    /// Reads and checks the headers of all weights.
    ///
    /// # Errors
    /// Weights that are missing, malformed or not those that the configs call for.
    pub fn of(checkpoint: &Checkpoint) -> Result<Self, CheckpointError> {
        let on_disk = |weights: cogwheel_weights::Weights| OnDisk {
            dtype: weights.dtype().name(),
            bytes: weights.total_bytes(),
        };
        Ok(Self(Part {
            text_encoder: on_disk(checkpoint.weights_text_encoder()?),
            transformer: on_disk(checkpoint.weights_transformer()?),
            vae: on_disk(checkpoint.weights_vae()?),
        }))
    }
}

fn memory(checkpoint: &Checkpoint, (precision, weights): (&'static str, DType)) -> Memory {
    let activations = DType::F32;
    let workload = checkpoint.default_workload();
    let need = checkpoint.memory_estimate(weights, activations, &workload);
    let workload = Workload { tiled: true, ..workload };
    let in_tiles = checkpoint.memory_estimate(weights, activations, &workload);
    let stage =
        |stage: StageMemory| StageBytes { weights: stage.weights, activations: stage.activations };
    Memory {
        precision,
        stages: Part {
            text_encoder: stage(need.text_encoder),
            transformer: stage(need.transformer),
            vae: stage(need.vae),
        },
        vae_in_tiles: stage(in_tiles.vae),
        together: need.together(),
        one_by_one: need.largest(),
        one_by_one_in_tiles: in_tiles.largest(),
    }
}
