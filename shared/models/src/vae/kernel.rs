use cogwheel_tensor::{DType, Tensor, TensorError};
use cogwheel_weights::Weights;

use crate::BuildError;

/// A convolution's weight [out, in, kernel...], in fp32, as the graphs take it apart.
pub(super) struct Kernel {
    tensor: Tensor,
}

impl Kernel {
    /// Reads one whose shape was checked against the config.
    pub(super) fn read(weights: &Weights, name: &str) -> Result<Self, BuildError> {
        Ok(Self { tensor: weights.tensor_as(name, DType::F32)? })
    }

    /// [out, in, height, width] of one tap along time.
    pub(super) fn time_tap(&self, tap: usize) -> Result<Tensor, TensorError> {
        let &[out, input, taps, height, width] = self.tensor.shape() else {
            return Err(self.unfit(5));
        };
        let area = height * width;
        let values = self.tensor.as_f32()?;
        let planes = values.chunks_exact(area).skip(tap).step_by(taps);
        Tensor::from_f32([out, input, height, width], planes.flatten().copied().collect())
    }

    /// [out, in, 1, 1] of a convolution over one pixel of one frame.
    pub(super) fn pointwise(self) -> Result<Tensor, TensorError> {
        let &[out, input, ..] = self.tensor.shape() else { return Err(self.unfit(5)) };
        self.tensor.reshape([out, input, 1, 1])
    }

    /// [out, in, 2, 2]: what a 3x3 kernel does to an image of which every pixel was doubled in both directions, at the
    /// pixels of one phase. Taps that fall on the same pixel are added.
    pub(super) fn phase(&self, row: usize, column: usize) -> Result<Tensor, TensorError> {
        let &[out, input, 3, 3] = self.tensor.shape() else { return Err(self.unfit(4)) };
        let phase = |kernel: &[f32]| {
            let mut sums = [0.0; 4];
            for (i, value) in kernel.iter().enumerate() {
                sums[2 * folded(i / 3, row) + folded(i % 3, column)] += value;
            }
            sums
        };
        let values = self.tensor.as_f32()?;
        Tensor::from_f32([out, input, 2, 2], values.chunks_exact(9).flat_map(phase).collect())
    }

    /// The error of a weight of another rank, which the check against the config has ruled out.
    fn unfit(&self, rank: usize) -> TensorError {
        let (shape, found) = (vec![0; rank], self.tensor.bytes().len());
        TensorError::Length { dtype: DType::F32, shape, expected: 0, found }
    }
}

/// Which of a phase's two source pixels the tap of a 3-wide kernel falls on. The first phase lies on the left half of
/// a doubled pixel: its first tap is the pixel before, the others are the pixel itself.
fn folded(tap: usize, phase: usize) -> usize {
    (tap + phase).div_ceil(2) - phase
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_tap_is_a_plane_of_every_kernel() {
        let values = (0..12).map(|v| v as f32).collect();
        let kernel = Kernel { tensor: Tensor::from_f32([2, 1, 3, 1, 2], values).unwrap() };
        let tap = kernel.time_tap(1).unwrap();
        assert_eq!(tap.shape(), [2, 1, 1, 2]);
        assert_eq!(tap.as_f32().unwrap().as_ref(), [2.0, 3.0, 8.0, 9.0]);
    }

    #[test]
    fn a_phase_adds_the_taps_that_see_the_same_pixel() {
        let values = (1..10).map(|v| v as f32).collect();
        let kernel = Kernel { tensor: Tensor::from_f32([1, 1, 3, 3], values).unwrap() };
        let phase = |row, column| kernel.phase(row, column).unwrap().as_f32().unwrap().into_owned();
        // Rows 1 2 3 / 4 5 6 / 7 8 9.
        assert_eq!(phase(0, 0), [1.0, 5.0, 11.0, 28.0]);
        assert_eq!(phase(0, 1), [3.0, 3.0, 24.0, 15.0]);
        assert_eq!(phase(1, 0), [5.0, 16.0, 7.0, 17.0]);
        assert_eq!(phase(1, 1), [12.0, 9.0, 15.0, 9.0]);
    }
}
