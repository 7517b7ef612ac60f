/// What a row of activations was quantized by: `value = scale * (byte - zero)`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct RowScale {
    pub(super) scale: f32,
    pub(super) zero: i32,
}

/// Quantizes a row to bytes, its least and greatest value becoming 0 and 255, and 0 a whole number between: what follows
/// an activation function has nearly all its values on one side. Beyond the row's end zeros are added.
///
/// A row with a value that is not finite has a scale that is not.
#[inline(always)]
pub(super) fn quantize(row: &[f32], bytes: &mut [u8]) -> RowScale {
    let (mut least, mut most, mut all) = ([0.0f32; LANES], [0.0f32; LANES], [0.0f32; LANES]);
    let (whole, rest) = row.as_chunks::<LANES>();
    for values in whole {
        for lane in 0..LANES {
            let value = values[lane];
            least[lane] = if value < least[lane] { value } else { least[lane] };
            most[lane] = if value > most[lane] { value } else { most[lane] };
            all[lane] += value * 0.0;
        }
    }
    for &value in rest {
        least[0] = if value < least[0] { value } else { least[0] };
        most[0] = if value > most[0] { value } else { most[0] };
        all[0] += value * 0.0;
    }
    let least = least.into_iter().fold(0.0, f32::min);
    let most = most.into_iter().fold(0.0, f32::max);
    let finite = all.into_iter().sum::<f32>() == 0.0;
    let scale = (most - least) / 255.0;
    let inverse = 1.0 / scale;
    bytes.fill(0);
    if !(finite && scale.is_finite()) {
        return RowScale { scale: f32::NAN, zero: 0 };
    }
    if !inverse.is_finite() {
        return RowScale::default();
    }
    let zero = (-least * inverse).round_ties_even();
    for (byte, value) in bytes.iter_mut().zip(row) {
        *byte = ((value * inverse).round_ties_even() + zero).clamp(0.0, 255.0) as u8;
    }
    RowScale { scale, zero: zero as i32 }
}

/// Values that are looked at together.
const LANES: usize = 16;
