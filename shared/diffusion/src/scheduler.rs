//! The two samplers of CogVideoX: DDIM and the stochastic DPM-Solver++ (2M).

mod alphas;
mod coefficients;
mod config;
mod real;
mod timesteps;

use coefficients::{Coefficients, Update};
use cogwheel_tensor::Storage;
pub use config::{BetaSchedule, PredictionType, SchedulerConfig, SchedulerKind, TimestepSpacing};

/// Why a scheduler cannot be made.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SchedulerError {
    /// More steps than the model was trained on, or none.
    #[error("num_inference_steps must be 1 to {largest}, found {found}")]
    NumInferenceSteps {
        /// The number asked for.
        found: usize,
        /// The most that the configuration allows: its training timesteps.
        largest: usize,
    },
    /// A configuration without training timesteps, or with more than any model has.
    #[error("num_train_timesteps must be 1 to {largest}, found {found}")]
    NumTrainTimesteps {
        /// The number in the configuration.
        found: usize,
        /// The most that is accepted.
        largest: usize,
    },
    /// Betas and signal-to-noise shift that do not give a share of signal between 0 and 1.
    #[error("expected a share of signal between 0 and 1 at timestep {timestep}, found {found}")]
    Alphas {
        /// The first such timestep.
        timestep: usize,
        /// Its cumulative product of alphas.
        found: f64,
    },
    /// A spacing and offset that leave the training timesteps.
    #[error("expected timesteps of 0 to {last}, found {found}: check steps_offset")]
    Timestep {
        /// The last training timestep.
        last: i64,
        /// The timestep that the spacing gives.
        found: i64,
    },
    /// Noise prediction cannot start where there is no signal at all.
    #[error(
        "prediction_type epsilon needs a signal at timestep {timestep}, found none: check rescale_betas_zero_snr"
    )]
    NoSignal {
        /// The timestep whose cumulative product of alphas is 0.
        timestep: i64,
    },
    /// Betas so near to 0 that a step cannot be computed.
    #[error(
        "expected finite coefficients at timestep {timestep}, found {found}: check beta_start and beta_end"
    )]
    Coefficient {
        /// The timestep.
        timestep: i64,
        /// The first coefficient of its step that is not finite.
        found: f32,
    },
}

/// How many of `steps` are taken for a strength: `CogVideoXVideoToVideoPipeline.get_timesteps`.
pub fn steps_taken(steps: usize, strength: f64) -> usize {
    // As Python's int(): towards 0. What is no number gives 0.
    ((steps as f64 * strength) as usize).min(steps)
}

/// The steps of one generation: from pure noise to clean latents.
///
/// As diffusers' `CogVideoXDDIMScheduler` and `CogVideoXDPMScheduler`: coefficients in the precision of the betas
/// (double for scaled linear ones), rounded to single and applied to the tensors in single precision, operation
/// for operation.
#[derive(Clone, Debug)]
pub struct Scheduler {
    prediction_type: PredictionType,
    timesteps: Vec<i64>,
    steps: Vec<Coefficients>,
    /// DPM's clean prediction of the step before.
    previous: Option<Vec<f32>>,
}

impl Scheduler {
    /// Plans `num_inference_steps` steps.
    ///
    /// diffusers adds a stray timestep of -1 after the last one for 62 trailing step counts (61, 103, ...), where
    /// the result is noise; here the number asked for is the number of steps.
    ///
    /// # Errors
    ///
    /// See [`SchedulerError`].
    pub fn new(
        kind: SchedulerKind,
        config: &SchedulerConfig,
        num_inference_steps: usize,
    ) -> Result<Self, SchedulerError> {
        let timesteps = timesteps::timesteps(config, num_inference_steps)?;
        // diffusers computes everything in the dtype of the betas.
        let steps = match config.beta_schedule {
            BetaSchedule::ScaledLinear => coefficients::plan::<f64>(kind, config, &timesteps)?,
            BetaSchedule::Linear => coefficients::plan::<f32>(kind, config, &timesteps)?,
        };
        Ok(Self { prediction_type: config.prediction_type, timesteps, steps, previous: None })
    }

    /// The training timestep of every step, falling.
    pub fn timesteps(&self) -> &[i64] {
        &self.timesteps
    }

    /// Mixes a clean sample with `noise`, in its place, as much as there is of either where step `index` begins: the
    /// schedulers' `add_noise`, whose factors are in the precision of the sample, `storage`.
    ///
    /// # Panics
    ///
    /// If `index` is not a step, or the two are not equally long.
    pub fn add_noise(&self, index: usize, clean: &[f32], noise: &mut [f32], storage: Storage) {
        assert_eq!(clean.len(), noise.len(), "noise and sample differ in length");
        let rounded = |value: f32| {
            let mut value = [value];
            storage.round(&mut value);
            value[0]
        };
        let alpha = rounded(self.steps[index].alpha);
        let of_clean = rounded(alpha.sqrt());
        let of_noise = rounded(rounded(1.0 - alpha).sqrt());
        for (noise, clean) in noise.iter_mut().zip(clean) {
            *noise = of_clean * clean + of_noise * *noise;
        }
    }

    /// Takes step `index` of [`Self::timesteps`]: moves `sample` to the next timestep by what the model said of it.
    ///
    /// `noise(count)` is asked for normal values exactly as often as diffusers draws them: never by DDIM; by DPM
    /// once for a first-order step (the first one taken, and one that ends at the clean sample), else twice, of which
    /// the first draw is thrown away. Steps are taken in rising order; the first one taken may be a later one than
    /// 0, as when a video is given (DPM then starts without history); step 0 always starts anew.
    ///
    /// # Panics
    ///
    /// If `index` is not a step, or `model_output`, `sample` and the noise are not equally long.
    pub fn step(
        &mut self,
        index: usize,
        model_output: &[f32],
        sample: &mut [f32],
        noise: &mut dyn FnMut(usize) -> Vec<f32>,
    ) {
        assert_eq!(model_output.len(), sample.len(), "model output and sample differ in length");
        let Coefficients { alpha_sqrt, beta_sqrt, update, .. } = self.steps[index];
        if index == 0 {
            self.previous = None;
        }

        let clean = |x: f32, output: f32| match self.prediction_type {
            PredictionType::VPrediction => alpha_sqrt * x - beta_sqrt * output,
            PredictionType::Epsilon => (x - beta_sqrt * output) / alpha_sqrt,
            PredictionType::Sample => output,
        };
        let (from_sample, from_clean, from_noise, history) = match update {
            Update::Ddim { from_sample, from_clean } => {
                for (x, &output) in sample.iter_mut().zip(model_output) {
                    *x = from_sample * *x + from_clean * clean(*x, output);
                }
                return;
            }
            Update::Dpm { from_sample, from_clean, from_noise, history } => {
                (from_sample, from_clean, from_noise, history)
            }
        };

        let mut drawn = noise(sample.len());
        let predicted: Vec<f32> =
            sample.iter().zip(model_output).map(|(&x, &output)| clean(x, output)).collect();
        let second_order = history.zip(self.previous.as_mut());
        if second_order.is_some() {
            drawn = noise(sample.len());
        }
        assert_eq!(drawn.len(), sample.len(), "noise and sample differ in length");
        match second_order {
            // The older prediction is turned into the extrapolated one in place.
            Some(((now, before), older)) => {
                assert_eq!(
                    older.len(),
                    sample.len(),
                    "the sample changed its length between steps"
                );
                for (older, &newer) in older.iter_mut().zip(&predicted) {
                    *older = now * newer - before * *older;
                }
                advance(sample, older, &drawn, [from_sample, from_clean, from_noise]);
            }
            None => advance(sample, &predicted, &drawn, [from_sample, from_clean, from_noise]),
        }
        self.previous = Some(predicted);
    }
}

/// `x <- a x - b clean + c noise`.
fn advance(sample: &mut [f32], clean: &[f32], noise: &[f32], [a, b, c]: [f32; 3]) {
    for ((x, &clean), &noise) in sample.iter_mut().zip(clean).zip(noise) {
        *x = a * *x - b * clean + c * noise;
    }
}
