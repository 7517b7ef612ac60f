//! How much signal is left at each training timestep.

use super::real::Real;
use super::{BetaSchedule, SchedulerConfig, SchedulerError};

/// The cumulative product of alphas at every training timestep, falling from nearly 1: as the constructors of the
/// CogVideoX schedulers, with their shift of the signal-to-noise ratio and their rescaling to zero terminal
/// signal (Lin et al., 2023, algorithm 1).
pub(super) fn alphas_cumprod<T: Real>(config: &SchedulerConfig) -> Result<Vec<T>, SchedulerError> {
    let one = T::of(1.0);
    // torch accumulates a single-precision product in double precision.
    let mut product = 1.0;
    let mut alphas: Vec<T> = betas::<T>(config)
        .into_iter()
        .map(|beta| {
            product *= (one - beta).f64();
            T::of(product)
        })
        .collect();

    let shift = T::of(config.snr_shift_scale);
    let rest = T::of(1.0 - config.snr_shift_scale);
    for alpha in &mut alphas {
        *alpha = *alpha / (shift + rest * *alpha);
    }
    if config.rescale_betas_zero_snr {
        rescale_to_zero_terminal_snr(&mut alphas);
    }
    match alphas.iter().position(|alpha| !(0.0..=1.0).contains(&alpha.f64())) {
        Some(timestep) => Err(SchedulerError::Alphas { timestep, found: alphas[timestep].f64() }),
        None => Ok(alphas),
    }
}

fn betas<T: Real>(config: &SchedulerConfig) -> Vec<T> {
    let (start, end, count) = (config.beta_start, config.beta_end, config.num_train_timesteps);
    match config.beta_schedule {
        BetaSchedule::Linear => linspace(T::of(start), T::of(end), count),
        BetaSchedule::ScaledLinear => {
            let mut roots = linspace(T::of(start.sqrt()), T::of(end.sqrt()), count);
            roots.iter_mut().for_each(|root| *root = *root * *root);
            roots
        }
    }
}

/// As `torch.linspace`, which counts from the nearer end.
fn linspace<T: Real>(start: T, end: T, count: usize) -> Vec<T> {
    if count == 1 {
        return vec![start];
    }
    let step = (end - start) / T::of((count - 1) as f64);
    (0..count)
        .map(|i| match i < count / 2 {
            true => start + step * T::of(i as f64),
            false => end - step * T::of((count - 1 - i) as f64),
        })
        .collect()
}

fn rescale_to_zero_terminal_snr<T: Real>(alphas: &mut [T]) {
    let (Some(first), Some(last)) = (alphas.first(), alphas.last()) else { return };
    let (first, last) = (first.sqrt(), last.sqrt());
    let scale = first / (first - last);
    for alpha in alphas {
        let root = (alpha.sqrt() - last) * scale;
        *alpha = root * root;
    }
}
