use std::path::Path;

use cogwheel_diffusion::scheduler::{
    BetaSchedule, PredictionType, SchedulerConfig, SchedulerKind, TimestepSpacing,
};
use serde_json::{Value, json};

use super::{ConfigError, ConfigFile};

/// `scheduler/scheduler_config.json`. `clip_sample`, `clip_sample_range` and `sample_max_value` are left out:
/// neither of CogVideoX's schedulers acts on them.
#[derive(Clone, Debug, PartialEq)]
pub struct SchedulerFileConfig {
    /// The scheduler that the file names; the published files all name DDIM.
    pub kind: SchedulerKind,
    /// The numbers, which serve either scheduler.
    pub config: SchedulerConfig,
}

impl SchedulerFileConfig {
    /// Reads and checks a config file.
    ///
    /// # Errors
    /// A [`ConfigError`] that names file, key, expected and found.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        Self::from_file(&ConfigFile::read(path)?)
    }

    /// Checks a config's text; `path` serves for messages only.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn parse(path: &Path, json: &[u8]) -> Result<Self, ConfigError> {
        Self::from_file(&ConfigFile::parse(path, json)?)
    }

    fn from_file(file: &ConfigFile) -> Result<Self, ConfigError> {
        let classes = ["CogVideoXDDIMScheduler", "CogVideoXDPMScheduler"];
        let kind = match file.one_of("_class_name", &classes)? {
            "CogVideoXDPMScheduler" => SchedulerKind::Dpm,
            _ => SchedulerKind::Ddim,
        };
        file.only("trained_betas", json!(null), &[json!(null)])?;
        let d = SchedulerConfig::default();
        let steps_offset = file.size("steps_offset", 0, 0..=99_999)?;
        let config = SchedulerConfig {
            num_train_timesteps: file.size(
                "num_train_timesteps",
                d.num_train_timesteps,
                2..=100_000,
            )?,
            beta_start: file.positive("beta_start", d.beta_start)?,
            beta_end: file.positive("beta_end", d.beta_end)?,
            beta_schedule: choice(file, "beta_schedule", &BETA_SCHEDULES, d.beta_schedule)?,
            prediction_type: choice(file, "prediction_type", &PREDICTION_TYPES, d.prediction_type)?,
            timestep_spacing: choice(
                file,
                "timestep_spacing",
                &TIMESTEP_SPACINGS,
                d.timestep_spacing,
            )?,
            rescale_betas_zero_snr: file
                .flag("rescale_betas_zero_snr", d.rescale_betas_zero_snr)?,
            set_alpha_to_one: file.flag("set_alpha_to_one", d.set_alpha_to_one)?,
            snr_shift_scale: file.positive("snr_shift_scale", d.snr_shift_scale)?,
            steps_offset: i64::try_from(steps_offset).unwrap_or(i64::MAX),
        };
        check_betas(file, &config)?;
        Ok(Self { kind, config })
    }
}

const BETA_SCHEDULES: [(&str, BetaSchedule); 2] =
    [("scaled_linear", BetaSchedule::ScaledLinear), ("linear", BetaSchedule::Linear)];

const PREDICTION_TYPES: [(&str, PredictionType); 3] = [
    ("v_prediction", PredictionType::VPrediction),
    ("epsilon", PredictionType::Epsilon),
    ("sample", PredictionType::Sample),
];

const TIMESTEP_SPACINGS: [(&str, TimestepSpacing); 3] = [
    ("trailing", TimestepSpacing::Trailing),
    ("leading", TimestepSpacing::Leading),
    ("linspace", TimestepSpacing::Linspace),
];

/// A string that stands for one of the values.
fn choice<T: Copy>(
    file: &ConfigFile,
    key: &str,
    choices: &[(&str, T)],
    default: T,
) -> Result<T, ConfigError> {
    let Some(found) = file.get(key) else { return Ok(default) };
    if let Some((_, value)) = choices.iter().find(|(name, _)| found == name) {
        return Ok(*value);
    }
    let supported: Vec<Value> = choices.iter().map(|(name, _)| json!(name)).collect();
    file.only(key, json!(null), &supported).map(|()| default)
}

/// Betas are variances: between 0 and 1, and growing with the noise.
fn check_betas(file: &ConfigFile, config: &SchedulerConfig) -> Result<(), ConfigError> {
    for (key, beta) in [("beta_start", config.beta_start), ("beta_end", config.beta_end)] {
        if beta >= 1.0 {
            return Err(file.value(key, "a number between 0 and 1", beta));
        }
    }
    if config.beta_end < config.beta_start {
        let expected = format!("at least the {} of `beta_start`", config.beta_start);
        return Err(file.value("beta_end", expected, config.beta_end));
    }
    Ok(())
}
