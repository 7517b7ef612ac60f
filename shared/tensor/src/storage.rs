use half::{bf16, f16, slice::HalfFloatSliceExt};

use crate::DType;

/// What values are rounded to where they are kept: weights, and the state between two steps or two
/// stages. The arithmetic between is fp32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Storage {
    /// Nothing is rounded.
    #[default]
    Fp32,
    /// IEEE 754 half precision; values beyond 65,504 become infinite.
    Fp16,
    /// bfloat16.
    Bf16,
}

impl Storage {
    /// The dtype whose values are kept.
    pub const fn dtype(self) -> DType {
        match self {
            Self::Fp32 => DType::F32,
            Self::Fp16 => DType::F16,
            Self::Bf16 => DType::BF16,
        }
    }

    /// Rounds each value to the nearest one that is kept, ties to even.
    pub fn round(self, values: &mut [f32]) {
        let mut kept16 = [f16::ZERO; PIECE];
        let mut kept_b16 = [bf16::ZERO; PIECE];
        for piece in values.chunks_mut(PIECE) {
            match self {
                Self::Fp32 => return,
                Self::Fp16 => {
                    let kept = &mut kept16[..piece.len()];
                    kept.convert_from_f32_slice(piece);
                    kept.convert_to_f32_slice(piece);
                }
                Self::Bf16 => {
                    let kept = &mut kept_b16[..piece.len()];
                    kept.convert_from_f32_slice(piece);
                    kept.convert_to_f32_slice(piece);
                }
            }
        }
    }
}

/// Values converted at a time: few enough for the stack.
const PIECE: usize = 1 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn rounded(storage: Storage, value: f32) -> f32 {
        let mut values = vec![value; PIECE + 1];
        storage.round(&mut values);
        assert!(values.iter().all(|other| other.to_bits() == values[0].to_bits()));
        values[0]
    }

    #[test]
    fn values_go_to_the_nearest_that_is_kept_and_ties_to_the_even_one() {
        let third = 1.0f32 / 3.0;
        assert_eq!(rounded(Storage::Fp32, third).to_bits(), third.to_bits());
        assert_eq!(rounded(Storage::Fp16, third), 0.333_251_95);
        assert_eq!(rounded(Storage::Bf16, third), 0.333_984_38);
        assert_eq!(rounded(Storage::Bf16, 1.0 + 2f32.powi(-8)), 1.0);
        assert_eq!(rounded(Storage::Bf16, 1.0 + 3.0 * 2f32.powi(-8)), 1.0 + 2f32.powi(-6));
    }

    #[test]
    fn beyond_the_range_of_halves_lies_infinity() {
        assert_eq!(rounded(Storage::Fp16, 65_504.0), 65_504.0);
        assert_eq!(rounded(Storage::Fp16, -70_000.0), f32::NEG_INFINITY);
        assert!(rounded(Storage::Bf16, 70_000.0).is_finite());
        assert!(rounded(Storage::Bf16, f32::NAN).is_nan());
    }
}
