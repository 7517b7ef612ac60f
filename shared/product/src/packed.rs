use bytemuck::zeroed_vec;
use cogwheel_tensor::{DType, Tensor};
use half::bf16;
use rayon::prelude::*;

use crate::{
    MatrixUnit, ProductError,
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
    pub fn new(unit: MatrixUnit, weight: &Tensor) -> Result<Self, ProductError> {
        Self::of_pieces(unit, weight, MOST_PIECES)
    }

    /// The same with no more pieces than stated, 8 bits of the mantissa each: what they do not hold is rounded off.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn of_pieces(unit: MatrixUnit, weight: &Tensor, most: usize) -> Result<Self, ProductError> {
        let most = most.clamp(1, MOST_PIECES);
        let unfit =
            || ProductError::Weight { dtype: weight.dtype(), shape: weight.shape().to_vec() };
        let &[outputs, inputs] = weight.shape() else { return Err(unfit()) };
        let (shape, bytes) = ([outputs, inputs], weight.bytes());
        match weight.dtype() {
            DType::F32 => pack(unit, shape, bytes, most, f32::from_le_bytes),
            DType::F16 => pack(unit, shape, bytes, most.min(2), f16_value),
            DType::BF16 => pack(unit, shape, bytes, 1, |v| bf16::from_le_bytes(v).to_f32()),
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

/// Steps of one output that are read in one go: a kilobyte of fp32, so that memory is read in runs.
const RUN: usize = 8;
/// Lines of all pieces of a tile.
const TILE_PIECES: usize = MOST_PIECES * TILE;
/// Values that are looked at together.
const BATCH: usize = 1 << 12;

fn pack<const SIZE: usize>(
    unit: MatrixUnit,
    [outputs, inputs]: [usize; 2],
    bytes: &[u8],
    most_pieces: usize,
    value: impl Fn([u8; SIZE]) -> f32 + Sync,
) -> Result<PackedWeight, ProductError> {
    let (values, _) = bytes.as_chunks::<SIZE>();
    let pieces = count_pieces(values, most_pieces, &value);
    let (panels, steps) = (outputs.div_ceil(PANEL), inputs.div_ceil(STEP));
    let step_lines = pieces * PIECE_LINES;
    let length = [panels, steps, step_lines, size_of::<Line>()]
        .iter()
        .try_fold(1usize, |product, &factor| product.checked_mul(factor))
        .filter(|&bytes| bytes <= isize::MAX as usize)
        .ok_or(ProductError::TooLarge { shape: vec![outputs, inputs] })?
        / size_of::<Line>();
    let mut lines: Vec<Line> = zeroed_vec(length);
    // Without inputs there is nothing to lay out, and no length to cut by.
    lines.par_chunks_mut((steps * step_lines).max(1)).enumerate().for_each(|(panel, lines)| {
        let mut row = [0.0; STEP];
        let mut split = vec![Line([0; 32]); RUN * TILE_PIECES];
        for (run, lines) in lines.chunks_mut(RUN * step_lines).enumerate() {
            for tile in 0..2 {
                for column in 0..TILE {
                    let output = panel * PANEL + tile * TILE + column;
                    // Beyond the last output there are no values, and the pieces are zero.
                    let from = match values.get(output * inputs..) {
                        Some(from) if output < outputs => &from[run * RUN * STEP..inputs],
                        _ => &[],
                    };
                    for (step, split) in split.chunks_exact_mut(TILE_PIECES).enumerate() {
                        let from = from.get(step * STEP..).unwrap_or_default();
                        let from = &from[..STEP.min(from.len())];
                        row.iter_mut().zip(from).for_each(|(to, bytes)| *to = value(*bytes));
                        unit.split(&row[..from.len()], &mut split[column..], TILE);
                    }
                }
                let steps = lines.chunks_exact_mut(step_lines).zip(split.chunks_exact(TILE_PIECES));
                for (lines, split) in steps {
                    let pieces = split.chunks_exact(TILE).take(pieces);
                    for (piece, outputs) in pieces.enumerate() {
                        turn(outputs, &mut lines[(2 * piece + tile) * TILE..][..TILE]);
                    }
                }
            }
        }
    });
    Ok(PackedWeight { outputs, inputs, pieces, lines })
}

/// From a line for each output to a line for each pair of inputs.
fn turn(outputs: &[Line], pairs: &mut [Line]) {
    let outputs: &[[u32; TILE]] = bytemuck::cast_slice(outputs);
    let pairs: &mut [[u32; TILE]] = bytemuck::cast_slice_mut(pairs);
    for (at, pair) in pairs.iter_mut().enumerate() {
        for (to, output) in pair.iter_mut().zip(outputs) {
            *to = output[at];
        }
    }
}

/// Pieces that every value is the sum of, `most` at the most.
fn count_pieces<const SIZE: usize>(
    values: &[[u8; SIZE]],
    most: usize,
    value: &(impl Fn([u8; SIZE]) -> f32 + Sync),
) -> usize {
    let hold = |pieces: &usize| {
        values.par_chunks(BATCH).all(|values| {
            // Without a branch inside, several are computed at once.
            let left = values.iter().fold(0u32, |left, bytes| {
                let value = value(*bytes);
                let rest = value - rounded(value);
                left | if *pieces == 1 { rest } else { rest - rounded(rest) }.to_bits()
            });
            // Zero is left over, of either sign.
            left << 1 == 0
        })
    };
    (1..most).find(hold).unwrap_or(most)
}

/// The value of an fp16 number, by arithmetic that needs no instruction of its own: exponent and mantissa moved to their
/// places, and scaled by the difference of the biases, which also makes subnormal numbers normal ones.
fn f16_value(bytes: [u8; 2]) -> f32 {
    let bits = u32::from(u16::from_le_bytes(bytes));
    let magnitude = f32::from_bits((bits & 0x7fff) << 13) * f32::from_bits((254 - 15) << 23);
    let special = if bits & 0x7c00 == 0x7c00 { 0x7f80_0000 } else { 0 };
    f32::from_bits(magnitude.to_bits() | special | (bits & 0x8000) << 16)
}

/// The nearest bf16, ties to even. (Beyond the finite it may be anything.)
fn rounded(value: f32) -> f32 {
    let bits = value.to_bits();
    let bits = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
    f32::from_bits(bits & 0xffff_0000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fp16_number_has_its_value() {
        for bits in 0..=u16::MAX {
            let expected = half::f16::from_bits(bits).to_f32();
            let found = f16_value(bits.to_le_bytes());
            assert!(found == expected || found.is_nan() && expected.is_nan(), "{bits:x}: {found}");
            assert_eq!(found.is_sign_negative(), expected.is_sign_negative(), "{bits:x}");
        }
    }
}
