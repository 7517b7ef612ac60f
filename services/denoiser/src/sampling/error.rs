use cogwheel_diffusion::scheduler::SchedulerError;
use cogwheel_engine::EngineError;
use cogwheel_tensor::DType;

use crate::transformer::ForwardError;

/// Why there are no latents.
#[derive(Debug, thiserror::Error)]
pub enum SamplingError {
    /// The steps cannot be planned.
    #[error(transparent)]
    Scheduler(#[from] SchedulerError),
    /// The transformer refused or failed.
    #[error(transparent)]
    Forward(#[from] ForwardError),
    /// Guidance without something to be guided away from.
    #[error("guidance needs embeddings of a negative prompt, found none")]
    NoNegativePrompt,
    /// The two prompts do not make a batch.
    #[error(
        "prompt embeddings: expected two of one shape [1, tokens, channels], \
         found {negative:?} for the negative prompt and {prompt:?}"
    )]
    Prompts {
        /// Shape of the negative prompt's.
        negative: Vec<usize>,
        /// Shape of the prompt's.
        prompt: Vec<usize>,
    },
    /// Given latents are none for this size.
    #[error("{what}: expected F32 {expected:?}, found {dtype} {found:?}")]
    Latents {
        /// Which latents.
        what: &'static str,
        /// Shape that the request wants.
        expected: [usize; 4],
        /// Dtype given.
        dtype: DType,
        /// Shape given.
        found: Vec<usize>,
    },
    /// Given latents hold a NaN or an infinity.
    #[error("{what}: expected finite values, found {value} at element {at}")]
    NotFinite {
        /// Which latents.
        what: &'static str,
        /// Which element.
        at: usize,
        /// Its value.
        value: f32,
    },
    /// A step left the range of numbers; all that follows would be black.
    #[error(
        "expected finite latents, found others after step {step} of {steps}: the guidance scale, \
         the initial latents, the adapters' scales or the model's weights are too large"
    )]
    Diverged {
        /// The step.
        step: usize,
        /// Steps in all.
        steps: usize,
    },
    /// The model wants an image or a control video beside the noise, or does not.
    #[error(
        "the model takes {input} channels for {output} of latents: found {found} for an image or control video"
    )]
    Condition {
        /// Channels that it takes.
        input: usize,
        /// Channels of the latents.
        output: usize,
        /// Whether there were any.
        found: &'static str,
    },
    /// A strength that leaves no step, or more than there are.
    #[error(
        "expected a strength above 0, of at most 1 and with at least one of {steps} steps, found {strength}"
    )]
    Strength {
        /// The strength given.
        strength: f64,
        /// Steps of the whole loop.
        steps: usize,
    },
}

impl SamplingError {
    /// Whether the caller's own token ended the loop.
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Self::Forward(ForwardError::Engine(EngineError::Cancelled)))
    }
}
