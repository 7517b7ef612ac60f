use std::ops::Range;

use cogwheel_tensor::{Tensor, TensorError};

/// Latents as the decoder's graph takes them.
pub(super) struct Latents {
    /// [frames, channels, height, width].
    pub(super) values: Vec<f32>,
    pub(super) frames: usize,
    pub(super) channels: usize,
    /// Height and width.
    pub(super) sides: [usize; 2],
}

impl Latents {
    /// Some frames' rows and columns: [n, channels, rows, columns].
    pub(super) fn window(
        &self,
        frames: Range<usize>,
        [rows, columns]: &[Range<usize>; 2],
    ) -> Result<Tensor, TensorError> {
        let [height, width] = self.sides;
        let shape = [frames.len(), self.channels, rows.len(), columns.len()];
        let planes = frames.start * self.channels..frames.end * self.channels;
        let mut values = Vec::with_capacity(shape.iter().product());
        for plane in planes {
            for row in rows.clone() {
                let start = (plane * height + row) * width;
                values.extend_from_slice(&self.values[start + columns.start..start + columns.end]);
            }
        }
        Tensor::from_f32(shape, values)
    }
}
