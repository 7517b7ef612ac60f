//! The factors of each step.

use super::alphas::alphas_cumprod;
use super::real::Real;
use super::{PredictionType, SchedulerConfig, SchedulerError, SchedulerKind};

/// The factors of one step, rounded to the precision of the tensors.
#[derive(Clone, Copy, Debug)]
pub(super) struct Coefficients {
    /// The signal's share at the timestep.
    pub(super) alpha: f32,
    /// Square root of the signal's share at the timestep.
    pub(super) alpha_sqrt: f32,
    /// Square root of the noise's share.
    pub(super) beta_sqrt: f32,
    pub(super) update: Update,
}

/// How the next sample is mixed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Update {
    /// `from_sample x + from_clean clean`.
    Ddim { from_sample: f32, from_clean: f32 },
    /// `from_sample x - from_clean d + from_noise noise`, where `d` is the clean prediction, or with the factors of
    /// a history `now clean - before older clean`.
    Dpm { from_sample: f32, from_clean: f32, from_noise: f32, history: Option<(f32, f32)> },
}

impl Update {
    fn factors(self) -> [f32; 5] {
        match self {
            Self::Ddim { from_sample, from_clean } => [from_sample, from_clean, 0.0, 0.0, 0.0],
            Self::Dpm { from_sample, from_clean, from_noise, history } => {
                let (now, before) = history.unwrap_or_default();
                [from_sample, from_clean, from_noise, now, before]
            }
        }
    }
}

/// The factors of every step.
pub(super) fn plan<T: Real>(
    kind: SchedulerKind,
    config: &SchedulerConfig,
    timesteps: &[i64],
) -> Result<Vec<Coefficients>, SchedulerError> {
    let alphas = alphas_cumprod::<T>(config)?;
    let one = T::of(1.0);
    // A whole number of timesteps: where the count divides none, this is not the next one visited.
    let stride = (config.num_train_timesteps / timesteps.len()) as i64;
    let last = if config.set_alpha_to_one { one } else { alphas[0] };
    let mut back = None;
    timesteps
        .iter()
        .map(|&timestep| {
            let alpha = alphas[timestep as usize];
            if config.prediction_type == PredictionType::Epsilon && alpha.f64() == 0.0 {
                return Err(SchedulerError::NoSignal { timestep });
            }
            let previous = timestep - stride;
            let next = if previous >= 0 { alphas[previous as usize] } else { last };
            let update = match kind {
                SchedulerKind::Ddim => ddim(alpha, next),
                SchedulerKind::Dpm => dpm(alpha, next, back.filter(|_| previous >= 0)),
            };
            back = Some(alpha);
            let step = Coefficients {
                alpha: single(alpha),
                alpha_sqrt: single(alpha.sqrt()),
                beta_sqrt: single((one - alpha).sqrt()),
                update,
            };
            match step.update.factors().into_iter().find(|factor| !factor.is_finite()) {
                Some(found) => Err(SchedulerError::Coefficient { timestep, found }),
                None => Ok(step),
            }
        })
        .collect()
}

fn single<T: Real>(value: T) -> f32 {
    value.f64() as f32
}

/// As `CogVideoXDDIMScheduler.step` (Song et al., 2020, formula 12 without noise).
fn ddim<T: Real>(alpha: T, next: T) -> Update {
    let one = T::of(1.0);
    let from_sample = ((one - next) / (one - alpha)).sqrt();
    let from_clean = next.sqrt() - alpha.sqrt() * from_sample;
    Update::Ddim { from_sample: single(from_sample), from_clean: single(from_clean) }
}

/// As `CogVideoXDPMScheduler.get_variables` and `get_mult` (Lu et al., 2022, SDE-DPM-Solver++ 2M). At no signal and
/// at a clean sample the half log-ratios are infinite, and the formulas come out right all the same.
fn dpm<T: Real>(alpha: T, next: T, back: Option<T>) -> Update {
    let one = T::of(1.0);
    let two = T::of(2.0);
    let half_log_snr = |alpha: T| (alpha / (one - alpha)).sqrt().ln();
    let h = half_log_snr(next) - half_log_snr(alpha);
    let from_sample = ((one - next) / (one - alpha)).sqrt() * (-h).exp();
    let from_clean = (-two * h).exp_m1() * next.sqrt();
    let from_noise = (one - next).sqrt() * (one - (-two * h).exp()).sqrt();
    let history = back.map(|back| {
        let ratio = (half_log_snr(alpha) - half_log_snr(back)) / h;
        let before = one / (two * ratio);
        (single(one + before), single(before))
    });
    Update::Dpm {
        from_sample: single(from_sample),
        from_clean: single(from_clean),
        from_noise: single(from_noise),
        history,
    }
}
