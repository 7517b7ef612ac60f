//! Schedulers and dynamic guidance against diffusers: whole trajectories with given model outputs and noise.

mod reference;

use cogwheel_diffusion::guidance::Guidance;
use cogwheel_diffusion::scheduler::{
    BetaSchedule, PredictionType, Scheduler, SchedulerConfig, SchedulerError, SchedulerKind,
    TimestepSpacing,
};
use reference::Reference;

/// Length of the sample in the reference trajectories.
const SIZE: usize = 12;
/// On whole trajectories, relative to the largest value: mathematics libraries differ in the last bit of a
/// coefficient.
const TOLERANCE: f32 = 1e-6;
/// The same mathematics in double precision; the formula turns fast enough to multiply the last bit of a power by 1e5.
const GUIDANCE_TOLERANCE: f64 = 1e-9;

/// The numbers of `tools/reference/schedulers.py`'s `wave`.
fn wave(index: usize) -> Vec<f32> {
    (0..SIZE)
        .map(|j| ((index * 7919 + j * 104_729 + index * j * 131) % 4096) as f32 / 1024.0 - 2.0)
        .collect()
}

fn published() -> SchedulerConfig {
    SchedulerConfig {
        prediction_type: PredictionType::VPrediction,
        rescale_betas_zero_snr: true,
        timestep_spacing: TimestepSpacing::Trailing,
        ..Default::default()
    }
}

/// The configurations of the reference script, and the step counts of each.
fn configurations() -> Vec<(&'static str, SchedulerConfig, &'static [usize])> {
    use PredictionType::{Sample, VPrediction};
    use TimestepSpacing::{Linspace, Trailing};
    const PUBLISHED: &[usize] = &[1, 2, 4, 6, 7, 10, 30, 50, 1000];
    const OTHERS: &[usize] = &[1, 4, 7, 30];
    let defaults = SchedulerConfig::default;
    vec![
        ("snr3", published(), PUBLISHED),
        ("snr1", SchedulerConfig { snr_shift_scale: 1.0, ..published() }, PUBLISHED),
        ("defaults", defaults(), OTHERS),
        ("lora_test", SchedulerConfig { timestep_spacing: Trailing, ..defaults() }, OTHERS),
        (
            "linspace",
            SchedulerConfig { timestep_spacing: Linspace, set_alpha_to_one: false, ..published() },
            OTHERS,
        ),
        (
            "offset",
            SchedulerConfig {
                prediction_type: VPrediction,
                steps_offset: 1,
                set_alpha_to_one: false,
                ..defaults()
            },
            OTHERS,
        ),
        (
            "sample",
            SchedulerConfig {
                prediction_type: Sample,
                timestep_spacing: Trailing,
                snr_shift_scale: 2.0,
                ..defaults()
            },
            OTHERS,
        ),
        (
            "linear",
            SchedulerConfig {
                beta_schedule: BetaSchedule::Linear,
                beta_start: 0.0001,
                beta_end: 0.02,
                ..published()
            },
            OTHERS,
        ),
        ("short", SchedulerConfig { num_train_timesteps: 500, ..published() }, OTHERS),
    ]
}

/// Runs all steps; gives the samples that the reference keeps and the number of draws.
fn trajectory(scheduler: &mut Scheduler) -> (Vec<f32>, usize) {
    let steps = scheduler.timesteps().len();
    let (mut sample, mut kept, mut draws) = (wave(0), Vec::new(), 0);
    for index in 0..steps {
        scheduler.step(index, &wave(2 * index + 1), &mut sample, &mut |count| {
            assert_eq!(count, SIZE);
            draws += 1;
            wave(2 * draws)
        });
        if steps < 1000 || (index + 1) % 100 == 0 {
            kept.extend_from_slice(&sample);
        }
    }
    (kept, draws)
}

#[test]
fn trajectories_are_those_of_diffusers() {
    let reference = Reference::read("schedulers");
    for (name, config, steps) in configurations() {
        for (kind, kind_name) in [(SchedulerKind::Ddim, "ddim"), (SchedulerKind::Dpm, "dpm")] {
            let (mut worst, mut different, mut values) = (0f32, 0, 0);
            for &steps in steps {
                let case = format!("{kind_name}.{name}.{steps}");
                let mut scheduler = Scheduler::new(kind, &config, steps).unwrap();
                assert_eq!(
                    scheduler.timesteps(),
                    reference.i64(&format!("{case}.timesteps")),
                    "{case}"
                );
                let (samples, draws) = trajectory(&mut scheduler);
                assert_eq!([draws as i64], *reference.i64(&format!("{case}.draws")), "{case}");
                let expected = reference.f32(&format!("{case}.samples"));
                assert_eq!(samples.len(), expected.len(), "{case}");
                let largest = expected.iter().fold(0f32, |largest, value| largest.max(value.abs()));
                for (found, expected) in samples.iter().zip(&expected) {
                    let error = (found - expected).abs() / largest;
                    assert!(error <= TOLERANCE, "{case}: expected {expected}, found {found}");
                    worst = worst.max(error);
                    values += 1;
                    different += usize::from(found.to_bits() != expected.to_bits());
                }
                // A second run with the same scheduler starts anew.
                assert_eq!(trajectory(&mut scheduler), (samples, draws), "{case}");
            }
            println!(
                "{kind_name}.{name}: largest error {worst:.2e}, {different} of {values} values differ"
            );
        }
    }
}

#[test]
fn every_trailing_step_count_visits_diffusers_timesteps() {
    let checksums = Reference::read("schedulers").i64("trailing.checksums");
    for (steps, expected) in (1..).zip(checksums) {
        let scheduler = Scheduler::new(SchedulerKind::Ddim, &published(), steps).unwrap();
        let found: i64 = (1..).zip(scheduler.timesteps()).map(|(j, t)| j * (t + 1)).sum();
        assert_eq!((scheduler.timesteps().len(), found), (steps, expected));
    }
}

#[test]
fn dynamic_guidance_swings_as_in_diffusers() {
    let reference = Reference::read("schedulers");
    let guidance = Guidance::new(6.0, true);
    for steps in [4, 7, 50] {
        let scheduler = Scheduler::new(SchedulerKind::Dpm, &published(), steps).unwrap();
        for (&timestep, expected) in
            scheduler.timesteps().iter().zip(reference.f64(&format!("guidance.{steps}")))
        {
            let found = guidance.scale_at(timestep, steps);
            assert!(
                (found - expected).abs() <= GUIDANCE_TOLERANCE,
                "{timestep} of {steps}: {found}, {expected}"
            );
        }
    }
}

#[test]
fn a_later_first_step_starts_without_history() {
    let mut scheduler = Scheduler::new(SchedulerKind::Dpm, &published(), 10).unwrap();
    let (mut sample, mut draws) = (wave(0), Vec::new());
    for index in 2..10 {
        let mut count = 0;
        scheduler.step(index, &wave(index), &mut sample, &mut |_| {
            count += 1;
            wave(count)
        });
        draws.push(count);
    }
    assert_eq!(draws, [1, 2, 2, 2, 2, 2, 2, 1]);
}

#[test]
fn impossible_plans_are_refused_with_what_is_possible() {
    let plan = |config: &SchedulerConfig, steps| {
        Scheduler::new(SchedulerKind::Ddim, config, steps).unwrap_err()
    };
    let largest = 1000;
    assert_eq!(plan(&published(), 0), SchedulerError::NumInferenceSteps { found: 0, largest });
    assert_eq!(
        plan(&published(), 1001).to_string(),
        "num_inference_steps must be 1 to 1000, found 1001"
    );
    let config = SchedulerConfig { num_train_timesteps: usize::MAX, ..published() };
    assert!(matches!(plan(&config, 1), SchedulerError::NumTrainTimesteps { .. }));
    let config = SchedulerConfig { steps_offset: 1, ..Default::default() };
    assert_eq!(plan(&config, 1000), SchedulerError::Timestep { last: 999, found: 1000 });
    let config = SchedulerConfig { steps_offset: i64::MAX, ..Default::default() };
    assert!(matches!(plan(&config, 4), SchedulerError::Timestep { .. }));
    let config = SchedulerConfig { prediction_type: PredictionType::Epsilon, ..published() };
    assert_eq!(plan(&config, 4), SchedulerError::NoSignal { timestep: 999 });
    // Timestep 0 then has no noise at all: the step from it divides by that, and DPM's history already in the one to it.
    let config = SchedulerConfig { beta_start: 1e-20, ..Default::default() };
    for (kind, at) in [(SchedulerKind::Ddim, 0), (SchedulerKind::Dpm, 250)] {
        let error = Scheduler::new(kind, &config, 4).unwrap_err();
        assert!(
            matches!(error, SchedulerError::Coefficient { timestep, .. } if timestep == at),
            "{error}"
        );
    }
    for (beta_end, snr_shift_scale) in
        [(f64::NAN, 1.0), (-1.0, 1.0), (3.0, 1.0), (0.012, -1.0), (0.012, f64::NAN)]
    {
        let config = SchedulerConfig { beta_end, snr_shift_scale, ..published() };
        assert!(
            matches!(plan(&config, 4), SchedulerError::Alphas { .. }),
            "{beta_end} {snr_shift_scale}"
        );
    }
}
