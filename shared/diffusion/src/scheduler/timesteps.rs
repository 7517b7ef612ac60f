//! Which training timesteps the steps visit.

use super::{SchedulerConfig, SchedulerError, TimestepSpacing};

/// More training timesteps than any model has; a guard against a file that would fill the memory.
const MOST_TRAIN_TIMESTEPS: usize = 1_000_000;

/// The timesteps of `set_timesteps(count)`, falling; numpy's arithmetic, rounding halves to even, to the letter.
pub(super) fn timesteps(
    config: &SchedulerConfig,
    count: usize,
) -> Result<Vec<i64>, SchedulerError> {
    let train = config.num_train_timesteps;
    if !(1..=MOST_TRAIN_TIMESTEPS).contains(&train) {
        return Err(SchedulerError::NumTrainTimesteps {
            found: train,
            largest: MOST_TRAIN_TIMESTEPS,
        });
    }
    if !(1..=train).contains(&count) {
        return Err(SchedulerError::NumInferenceSteps { found: count, largest: train });
    }
    let timesteps: Vec<i64> = match config.timestep_spacing {
        TimestepSpacing::Trailing => {
            let start = train as f64;
            let second = start - start / count as f64;
            // `numpy.arange` adds multiples of the difference of its first two values.
            let delta = second - start;
            (0..count).map(|i| (start + i as f64 * delta).round_ties_even() as i64 - 1).collect()
        }
        TimestepSpacing::Leading => {
            let ratio = (train / count) as i64;
            (0..count as i64)
                .rev()
                .map(|i| (i * ratio).saturating_add(config.steps_offset))
                .collect()
        }
        TimestepSpacing::Linspace => {
            let last = (train - 1) as f64;
            // With one step it is timestep 0; the quotient is then never used.
            let step = last / (count as f64 - 1.0);
            (0..count)
                .rev()
                .map(|i| match i {
                    0 => 0,
                    i if i + 1 == count => train as i64 - 1,
                    i => (i as f64 * step).round_ties_even() as i64,
                })
                .collect()
        }
    };
    let last = train as i64 - 1;
    match timesteps.iter().find(|timestep| !(0..=last).contains(*timestep)) {
        Some(&found) => Err(SchedulerError::Timestep { last, found }),
        None => Ok(timesteps),
    }
}
