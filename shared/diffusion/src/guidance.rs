//! Classifier-free guidance: how far the prediction is pushed from the unconditional one towards the prompt's.

use std::f64::consts::PI;

/// Whether and how strongly a generation is guided.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Guidance {
    /// Only the prompt's prediction is computed.
    Off,
    /// The same scale in every step.
    Constant(f64),
    /// A scale that swings between 1 and 1 + this with the timestep (`use_dynamic_cfg`).
    Dynamic(f64),
}

impl Guidance {
    /// Off for a scale of 1 or less, as the pipelines' `do_classifier_free_guidance`, whether dynamic or not.
    pub fn new(scale: f64, dynamic: bool) -> Self {
        match (scale > 1.0, dynamic) {
            (false, _) => Self::Off,
            (true, false) => Self::Constant(scale),
            (true, true) => Self::Dynamic(scale),
        }
    }

    /// The scale at a training timestep (0 to 999); 1 when off.
    ///
    /// The dynamic one is `CogVideoXPipeline`'s `1 + g (1 - cos(pi ((n - t) / n)^5)) / 2`, which takes the timestep
    /// for a step number: it swings wildly from step to step, and the published models are used with it so.
    pub fn scale_at(&self, timestep: i64, num_inference_steps: usize) -> f64 {
        match *self {
            Self::Off => 1.0,
            Self::Constant(scale) => scale,
            Self::Dynamic(scale) => {
                let steps = num_inference_steps as f64;
                let progress = (steps - timestep as f64) / steps;
                1.0 + scale * ((1.0 - (PI * progress.powf(5.0)).cos()) / 2.0)
            }
        }
    }
}

/// `out = uncond + scale (text - uncond)`, in single precision.
///
/// # Panics
///
/// If the three are not equally long.
pub fn combine(uncond: &[f32], text: &[f32], scale: f64, out: &mut [f32]) {
    assert_eq!(uncond.len(), text.len(), "the two predictions differ in length");
    assert_eq!(uncond.len(), out.len(), "prediction and output differ in length");
    let scale = scale as f32;
    for ((out, &uncond), &text) in out.iter_mut().zip(uncond).zip(text) {
        *out = uncond + scale * (text - uncond);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_of_one_or_less_or_none_at_all_is_off() {
        for scale in [1.0, 0.0, -3.0, f64::NAN] {
            assert_eq!(Guidance::new(scale, true), Guidance::Off);
            assert_eq!(Guidance::new(scale, false).scale_at(999, 50), 1.0);
        }
        assert_eq!(Guidance::new(6.0, false).scale_at(19, 50), 6.0);
    }

    #[test]
    fn predictions_are_combined_from_the_unconditional_one() {
        let mut out = [0.0; 2];
        combine(&[1.0, -2.0], &[2.0, 0.5], 6.0, &mut out);
        assert_eq!(out, [7.0, 13.0]);
    }
}
