use cogwheel_graph::{Convolution, Value};
use cogwheel_tensor::DType;

use super::{builder::Builder, kernel::Kernel};
use crate::BuildError;

impl Builder<'_> {
    /// Every frame doubled in height and width by repeating its pixels, then convolved: the spatial part of diffusers'
    /// `CogVideoXUpsample3D`. That convolution sees one frame, so time is doubled after it.
    ///
    /// A 3x3 kernel on doubled pixels sees four different ones, so each of the four phases of the result is a 2x2
    /// convolution of the frame as it was: 4 products instead of 9, and no doubled frame in memory.
    pub(super) fn upsample(&mut self, x: &Value, name: &str) -> Result<Value, BuildError> {
        let kernel = Kernel::read(self.weights, &format!("{name}.weight"))?;
        let bias = self.weights.tensor_as(&format!("{name}.bias"), DType::F32)?;
        self.graph.scoped(name, |g| {
            let bias = g.constant("bias", &bias);
            let mut phases = Vec::with_capacity(4);
            for [row, column] in [[0, 0], [0, 1], [1, 0], [1, 1]] {
                let weight = g.constant("weight", &kernel.phase(row, column)?);
                // The first phase looks back by one pixel, the second ahead.
                let [after_row, after_column] = [row, column].map(|phase| phase as i64);
                let pads = [1 - after_row, 1 - after_column, after_row, after_column];
                let geometry = Convolution { kernel: &[2, 2], strides: &[], pads: &pads };
                phases.push(g.conv(x, &weight, Some(&bias), geometry)?);
            }
            let phases = g.concat(&phases.iter().collect::<Vec<_>>(), 1)?;
            Ok(g.depth_to_space(&phases, 2))
        })
    }
}
