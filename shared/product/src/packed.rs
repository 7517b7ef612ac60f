use bytemuck::zeroed_vec;
use cogwheel_tensor::{DType, Tensor};
use half::{bf16, f16};
use rayon::prelude::*;

use crate::{
    ProductError,
    layout::{Line, MOST_PIECES, PANEL, PIECE_LINES, STEP, TILE},
};

/// A linear layer's weight, cut into pieces and laid out for the unit: 2 bytes for each parameter and piece.
///
/// There are as many pieces as hold every value of the weight exactly: one for what was bf16, two for what was fp16,
/// three for any other fp32. (Of values below 2^-110 a piece may fall below bf16's normal numbers, which the unit takes
/// for zero.)
#[derive(Debug)]
pub struct PackedWeight {
    outputs: usize,
    inputs: usize,
    pieces: usize,
    /// Panel by panel, step by step, piece by piece, two tiles.
    lines: Vec<Line>,
}

impl PackedWeight {
    /// Packs a weight `[out, in]` of fp32, fp16 or bf16, in parallel.
    ///
    /// # Errors
    /// [`ProductError::Weight`] for another rank or dtype, [`ProductError::TooLarge`].
    pub fn new(weight: &Tensor) -> Result<Self, ProductError> {
        let shape = weight.shape();
        let unfit =
            || ProductError::Weight { dtype: weight.dtype(), shape: weight.shape().to_vec() };
        let &[outputs, inputs] = shape else { return Err(unfit()) };
        let bytes = weight.bytes();
        match weight.dtype() {
            DType::F32 => pack([outputs, inputs], bytes, f32::from_le_bytes),
            DType::F16 => {
                pack([outputs, inputs], bytes, |bytes| f16::from_le_bytes(bytes).to_f32())
            }
            DType::BF16 => {
                pack([outputs, inputs], bytes, |bytes| bf16::from_le_bytes(bytes).to_f32())
            }
            DType::I64 | DType::I32 | DType::U8 | DType::I8 => Err(unfit()),
        }
    }

    /// Length of a row of the result.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Length of a row of the activations.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Pieces that each value is the sum of: 1, 2 or 3.
    pub fn pieces(&self) -> usize {
        self.pieces
    }

    /// Memory it takes.
    pub fn byte_length(&self) -> usize {
        self.lines.len() * size_of::<Line>()
    }

    /// Steps of a row.
    pub(crate) fn steps(&self) -> usize {
        self.inputs.div_ceil(STEP)
    }

    /// The steps of one panel of outputs.
    pub(crate) fn panel(&self, panel: usize) -> &[Line] {
        let length = self.steps() * self.pieces * PIECE_LINES;
        &self.lines[panel * length..][..length]
    }
}

/// Values read from one row at a time.
const BATCH: usize = 1 << 16;

fn pack<const SIZE: usize>(
    [outputs, inputs]: [usize; 2],
    bytes: &[u8],
    value: impl Fn([u8; SIZE]) -> f32 + Sync,
) -> Result<PackedWeight, ProductError> {
    let (values, _) = bytes.as_chunks::<SIZE>();
    let pieces = values
        .par_chunks(BATCH)
        .map(|values| values.iter().map(|bytes| count(value(*bytes))).max().unwrap_or(1))
        .reduce(|| 1, usize::max);
    let (panels, steps) = (outputs.div_ceil(PANEL), inputs.div_ceil(STEP));
    let step_lines = pieces * PIECE_LINES;
    let too_large = ProductError::TooLarge { shape: vec![outputs, inputs] };
    let length = [panels, steps, step_lines, size_of::<Line>()]
        .iter()
        .try_fold(1usize, |product, &factor| product.checked_mul(factor))
        .filter(|&bytes| bytes <= isize::MAX as usize)
        .ok_or(too_large)?
        / size_of::<Line>();
    let mut lines: Vec<Line> = zeroed_vec(length);
    if length > 0 {
        lines.par_chunks_mut(steps * step_lines).enumerate().for_each(|(panel, lines)| {
            for (step, lines) in lines.chunks_exact_mut(step_lines).enumerate() {
                let first_input = step * STEP;
                let width = STEP.min(inputs - first_input);
                for column in 0..PANEL.min(outputs - panel * PANEL) {
                    let start = (panel * PANEL + column) * inputs + first_input;
                    let row = &values[start..][..width];
                    let tile = column / TILE * TILE;
                    for (at, bytes) in row.iter().enumerate() {
                        let split = split(value(*bytes));
                        for (piece, &bits) in split[..pieces].iter().enumerate() {
                            let line = piece * PIECE_LINES + tile + at / 2;
                            lines[line].0[column % TILE * 2 + at % 2] = bits;
                        }
                    }
                }
            }
        });
    }
    Ok(PackedWeight { outputs, inputs, pieces, lines })
}

/// The pieces of a number, largest first: each is what remains, rounded to bf16.
pub(crate) fn split(value: f32) -> [u16; MOST_PIECES] {
    let mut rest = value;
    std::array::from_fn(|_| {
        let piece = bf16::from_f32(rest);
        rest -= piece.to_f32();
        piece.to_bits()
    })
}

/// Pieces that a number needs.
fn count(value: f32) -> usize {
    let first = value - bf16::from_f32(value).to_f32();
    if first == 0.0 {
        1
    } else if first == bf16::from_f32(first).to_f32() {
        2
    } else {
        3
    }
}
