mod kernel;
mod linear;
mod rows;

use cogwheel_tensor::{DType, Tensor};
use half::{bf16, f16};
use rayon::prelude::*;

use crate::ProductError;
pub use linear::QuantizedLinear;
pub(crate) use rows::RowScale;

/// Outputs of a panel: four registers of sums.
const PANEL: usize = 64;
/// Inputs that are multiplied and added in one go.
const GROUP: usize = 4;

/// A group of inputs of a panel's outputs: four bytes for each output.
#[derive(Clone, Copy, Debug, bytemuck::Zeroable, bytemuck::Pod)]
#[repr(C, align(64))]
pub(crate) struct Group([i8; PANEL * GROUP]);

/// A linear layer's weight in bytes: 1 byte a parameter, and a scale for each output.
///
/// A value is `scale * q` with `q` of -127 to 127 and the scale the largest magnitude of the output's weights over 127. An
/// output with a weight that is not finite has a scale that is not, so that its results are none either.
#[derive(Debug)]
pub struct QuantizedWeight {
    outputs: usize,
    inputs: usize,
    /// Panel by panel, group by group; beyond the last output and input zeros.
    groups: Vec<Group>,
    /// For each output, as many as the panels have.
    columns: Vec<Column>,
}

/// What the sums of an output are corrected and multiplied by.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Column {
    scale: f32,
    /// Of the output's bytes.
    sum: i32,
}

impl QuantizedWeight {
    /// The longest row of activations whose sums cannot overflow: 255 * 127 * this is below 2^31.
    pub const MOST_INPUTS: usize = 1 << 16;

    /// Quantizes a weight `[out, in]` of fp32, fp16 or bf16, in parallel.
    ///
    /// # Errors
    /// [`ProductError::Weight`] for another rank or dtype, [`ProductError::TooLarge`].
    pub fn new(weight: &Tensor) -> Result<Self, ProductError> {
        let unfit =
            || ProductError::Weight { dtype: weight.dtype(), shape: weight.shape().to_vec() };
        let &[outputs, inputs] = weight.shape() else { return Err(unfit()) };
        let (shape, bytes) = ([outputs, inputs], &weight.bytes()[..]);
        match weight.dtype() {
            DType::F32 => quantize(shape, bytes, f32::from_le_bytes),
            DType::F16 => quantize(shape, bytes, |v| f16::from_le_bytes(v).to_f32()),
            DType::BF16 => quantize(shape, bytes, |v| bf16::from_le_bytes(v).to_f32()),
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

    /// Memory it takes.
    pub fn byte_length(&self) -> usize {
        size_of_val(&self.groups[..]) + size_of_val(&self.columns[..])
    }

    /// Groups of a panel.
    fn groups_of_panel(&self) -> usize {
        self.inputs.div_ceil(GROUP)
    }
}

fn quantize<const SIZE: usize>(
    [outputs, inputs]: [usize; 2],
    bytes: &[u8],
    value: impl Fn([u8; SIZE]) -> f32 + Sync,
) -> Result<QuantizedWeight, ProductError> {
    let (values, _) = bytes.as_chunks::<SIZE>();
    let (panels, steps) = (outputs.div_ceil(PANEL), inputs.div_ceil(GROUP));
    let length = panels
        .checked_mul(steps)
        .filter(|&groups| groups <= isize::MAX as usize / size_of::<Group>())
        .filter(|_| inputs <= QuantizedWeight::MOST_INPUTS)
        .ok_or(ProductError::TooLarge { shape: vec![outputs, inputs] })?;
    let mut groups: Vec<Group> = bytemuck::zeroed_vec(length);
    let mut columns = vec![Column::default(); panels * PANEL];
    let parts = groups.par_chunks_mut(steps.max(1)).zip(columns.par_chunks_mut(PANEL));
    parts.enumerate().for_each(|(panel, (groups, columns))| {
        for (at, column) in columns.iter_mut().enumerate() {
            let output = panel * PANEL + at;
            if output >= outputs {
                break;
            }
            let row = &values[output * inputs..(output + 1) * inputs];
            let inverse;
            (column.scale, inverse) = scale(row.iter().map(|bytes| value(*bytes)));
            let places = groups.iter_mut().flat_map(|group| &mut group.0[at * GROUP..][..GROUP]);
            for (place, bytes) in places.zip(row) {
                // What is no number becomes 0; the scale tells.
                *place = (value(*bytes) * inverse).round_ties_even().clamp(-127.0, 127.0) as i8;
                column.sum += i32::from(*place);
            }
        }
    });
    Ok(QuantizedWeight { outputs, inputs, groups, columns })
}

/// The scale of an output's weights, and what they are multiplied by to be bytes.
fn scale(values: impl Iterator<Item = f32>) -> (f32, f32) {
    // A sum that takes part of every value: what is not finite is not lost as it would be in a maximum.
    let (most, all) = values
        .fold((0.0f32, 0.0f32), |(most, all), value| (most.max(value.abs()), all + value * 0.0));
    let scale = most / 127.0;
    if all != 0.0 || !scale.is_finite() {
        return (f32::NAN, 0.0);
    }
    // Weights so small that their inverse is none are none.
    let inverse = 1.0 / scale;
    if inverse.is_finite() { (scale, inverse) } else { (0.0, 0.0) }
}
