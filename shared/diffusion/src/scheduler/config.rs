//! What `scheduler/scheduler_config.json` says.

/// Which sampler takes the steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SchedulerKind {
    /// `CogVideoXDDIMScheduler`: deterministic.
    Ddim,
    /// `CogVideoXDPMScheduler`: second order, draws noise in every step.
    Dpm,
}

/// How the betas run from `beta_start` to `beta_end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BetaSchedule {
    /// Evenly in the square root, in double precision.
    ScaledLinear,
    /// Evenly, in single precision.
    Linear,
}

/// What the model's output is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PredictionType {
    /// The velocity: sqrt(alpha) noise - sqrt(1 - alpha) clean sample.
    VPrediction,
    /// The noise.
    Epsilon,
    /// The clean sample.
    Sample,
}

/// How the steps are laid over the training timesteps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TimestepSpacing {
    /// Counted down from the last timestep.
    Trailing,
    /// Counted up from the first.
    Leading,
    /// Both ends included.
    Linspace,
}

/// The keys of a scheduler's configuration that change its numbers, under diffusers' names.
#[derive(Clone, Debug, PartialEq)]
pub struct SchedulerConfig {
    /// Timesteps the model was trained on.
    pub num_train_timesteps: usize,
    /// Noise variance of the first timestep.
    pub beta_start: f64,
    /// Noise variance of the last timestep.
    pub beta_end: f64,
    /// The run between them.
    pub beta_schedule: BetaSchedule,
    /// What the model predicts.
    pub prediction_type: PredictionType,
    /// Where the steps lie.
    pub timestep_spacing: TimestepSpacing,
    /// Whether the last timestep is pure noise.
    pub rescale_betas_zero_snr: bool,
    /// Whether the last step ends at a clean sample rather than at timestep 0.
    pub set_alpha_to_one: bool,
    /// Divides the signal-to-noise ratio: 3 in CogVideoX-2b, 1 in the others.
    pub snr_shift_scale: f64,
    /// Added to the timesteps of leading spacing.
    pub steps_offset: i64,
}

impl Default for SchedulerConfig {
    /// The defaults of `CogVideoXDDIMScheduler`'s constructor, which a key absent from a file has.
    fn default() -> Self {
        Self {
            num_train_timesteps: 1000,
            beta_start: 0.00085,
            beta_end: 0.0120,
            beta_schedule: BetaSchedule::ScaledLinear,
            prediction_type: PredictionType::Epsilon,
            timestep_spacing: TimestepSpacing::Leading,
            rescale_betas_zero_snr: false,
            set_alpha_to_one: true,
            snr_shift_scale: 3.0,
            steps_offset: 0,
        }
    }
}
