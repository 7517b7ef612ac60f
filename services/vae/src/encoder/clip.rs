use std::{borrow::Cow, ops::Range};

use cogwheel_tensor::{DType, Tensor, TensorError};

use crate::VaeError;

/// Frames as they are to be encoded.
pub(super) struct Clip<'a> {
    pixels: Pixels<'a>,
    pub(super) frames: usize,
    /// Height and width.
    pub(super) sides: [usize; 2],
}

/// [frames, height, width, 3].
enum Pixels<'a> {
    Bytes(&'a [u8]),
    /// In 0..1.
    Brightness(Cow<'a, [f32]>),
}

impl<'a> Clip<'a> {
    /// Passes frames of which a latent has `multiple` rows and columns.
    pub(super) fn new(frames: &'a Tensor, multiple: usize) -> Result<Self, VaeError> {
        let &[count, height, width, 3] = frames.shape() else {
            return Err(unfit(frames, multiple));
        };
        let whole = [height, width].iter().all(|side| side.is_multiple_of(multiple));
        if frames.is_empty() || !whole {
            return Err(unfit(frames, multiple));
        }
        let pixels = match frames.dtype() {
            DType::U8 => Pixels::Bytes(frames.bytes()),
            DType::F32 => Pixels::Brightness(frames.as_f32()?),
            _ => return Err(unfit(frames, multiple)),
        };
        Ok(Self { pixels, frames: count, sides: [height, width] })
    }

    /// Some frames' rows and columns as the graph takes them: [n, 3, rows, columns] in -1..1. In single precision step by
    /// step, as diffusers' `pil_to_numpy` and `normalize`.
    pub(super) fn window(
        &self,
        frames: Range<usize>,
        sides: &[Range<usize>; 2],
    ) -> Result<Tensor, TensorError> {
        match &self.pixels {
            Pixels::Bytes(bytes) => {
                self.planes(frames, sides, |at| f32::from(bytes[at]) / 255.0 * 2.0 - 1.0)
            }
            Pixels::Brightness(values) => self.planes(frames, sides, |at| values[at] * 2.0 - 1.0),
        }
    }

    fn planes(
        &self,
        frames: Range<usize>,
        [rows, columns]: &[Range<usize>; 2],
        value: impl Fn(usize) -> f32,
    ) -> Result<Tensor, TensorError> {
        let [height, width] = self.sides;
        let shape = [frames.len(), 3, rows.len(), columns.len()];
        let mut planes = Vec::with_capacity(shape.iter().product());
        for (frame, channel) in frames.flat_map(|frame| (0..3).map(move |c| (frame, c))) {
            for row in rows.clone() {
                let start = (frame * height + row) * width;
                planes.extend(columns.clone().map(|column| value((start + column) * 3 + channel)));
            }
        }
        Tensor::from_f32(shape, planes)
    }
}

/// Frames that the model does not encode.
pub(super) fn unfit(frames: &Tensor, multiple: usize) -> VaeError {
    VaeError::Frames { multiple, dtype: frames.dtype(), shape: frames.shape().to_vec() }
}
