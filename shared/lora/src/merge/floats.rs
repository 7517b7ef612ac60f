use bytes::Bytes;
use cogwheel_tensor::DType;
use half::{bf16, f16, slice::HalfFloatSliceExt};

/// Values of a floating-point tensor as fp32; `None` for integers.
pub(crate) fn floats(dtype: DType, bytes: &[u8]) -> Option<Vec<f32>> {
    let mut values = vec![0.0; bytes.len() / dtype.size()];
    widen(dtype, bytes, &mut values)?;
    Some(values)
}

/// The same into memory that is there, of as many values as the bytes hold.
pub(super) fn widen(dtype: DType, bytes: &[u8], values: &mut [f32]) -> Option<()> {
    match dtype {
        DType::F32 => cast(bytes, |from: &[f32]| values.copy_from_slice(from)),
        DType::F16 => cast(bytes, |from: &[f16]| from.convert_to_f32_slice(values)),
        // Written out, since `half` looks at each number for NaN, which keeps the loop from becoming vectors.
        DType::BF16 => cast(bytes, |from: &[u16]| {
            let pairs = values.iter_mut().zip(from);
            pairs.for_each(|(to, &from)| *to = f32::from_bits(u32::from(from) << 16));
        }),
        DType::I64 | DType::I32 | DType::U8 | DType::I8 => return None,
    }
    Some(())
}

/// Nothing makes a file's tensors lie where their elements could be read in place; those that do not are copied.
fn cast<T: bytemuck::AnyBitPattern + bytemuck::NoUninit>(bytes: &[u8], take: impl FnOnce(&[T])) {
    match bytemuck::try_cast_slice(bytes) {
        Ok(values) => take(values),
        Err(_) => take(&bytemuck::pod_collect_to_vec(bytes)),
    }
}

/// What a result is made of: fp32 rounded once, to nearest with ties to even.
pub(super) trait Rounded:
    bytemuck::NoUninit + bytemuck::Zeroable + Send + Sync + 'static
{
    /// The values themselves, where no rounding is needed.
    fn as_f32(values: &mut [Self]) -> Option<&mut [f32]>;

    fn round(from: &[f32], to: &mut [Self]);

    fn all_finite(values: &[Self]) -> bool;
}

impl Rounded for f32 {
    fn as_f32(values: &mut [Self]) -> Option<&mut [f32]> {
        Some(values)
    }

    fn round(from: &[f32], to: &mut [Self]) {
        to.copy_from_slice(from);
    }

    fn all_finite(values: &[Self]) -> bool {
        values.iter().fold(true, |all, x| all & x.is_finite())
    }
}

impl Rounded for f16 {
    fn as_f32(_: &mut [Self]) -> Option<&mut [f32]> {
        None
    }

    fn round(from: &[f32], to: &mut [Self]) {
        to.convert_from_f32_slice(from);
    }

    fn all_finite(values: &[Self]) -> bool {
        values.iter().fold(true, |all, x| all & (x.to_bits() & 0x7c00 != 0x7c00))
    }
}

impl Rounded for bf16 {
    fn as_f32(_: &mut [Self]) -> Option<&mut [f32]> {
        None
    }

    fn round(from: &[f32], to: &mut [Self]) {
        let pairs = to.iter_mut().zip(from);
        pairs.for_each(|(to, from)| {
            let bits = from.to_bits();
            // Half a unit in the last place that stays, less one where that is even already.
            let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
            // NaN stays NaN: its fraction could round away.
            *to = Self::from_bits(if from.is_nan() { 0x7fc0 } else { rounded as u16 });
        });
    }

    fn all_finite(values: &[Self]) -> bool {
        values.iter().fold(true, |all, x| all & (x.to_bits() & 0x7f80 != 0x7f80))
    }
}

/// Hands a vector's memory to `Bytes`; it keeps the vector's alignment.
pub(super) fn own<T: bytemuck::NoUninit + Send + 'static>(values: Vec<T>) -> Bytes {
    struct Owner<T>(Vec<T>);
    impl<T: bytemuck::NoUninit> AsRef<[u8]> for Owner<T> {
        fn as_ref(&self) -> &[u8] {
            bytemuck::cast_slice(&self.0)
        }
    }
    Bytes::from_owner(Owner(values))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Bits, since NaN equals nothing.
    fn bits(values: &[f32]) -> Vec<u32> {
        values.iter().map(|value| value.to_bits()).collect()
    }

    #[test]
    fn every_bfloat_and_half_is_widened_exactly_wherever_it_lies() {
        let all: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
        let shifted = [&[0], &all[..]].concat();
        for (dtype, widened) in [
            (DType::BF16, (|bits| bf16::from_bits(bits).to_f32()) as fn(u16) -> f32),
            (DType::F16, |bits| f16::from_bits(bits).to_f32()),
        ] {
            let aligned = floats(dtype, &all).unwrap();
            assert_eq!(bits(&floats(dtype, &shifted[1..]).unwrap()), bits(&aligned));
            for (found, pattern) in aligned.iter().zip(0..=u16::MAX) {
                let expected = widened(pattern);
                let same = found.to_bits() == expected.to_bits();
                assert!(same || found.is_nan() && expected.is_nan(), "{dtype} {pattern:x}");
            }
        }
        assert_eq!(floats(DType::I32, &[0; 4]), None);
    }

    proptest! {
        #[test]
        fn rounding_is_to_nearest_with_ties_to_even(pattern in any::<u32>()) {
            // Ties and their neighbours, which are rare among random patterns.
            for low in [None, Some(0x7fff), Some(0x8000), Some(0x8001)] {
                let value = f32::from_bits(low.map_or(pattern, |low| pattern & 0xffff_0000 | low));
                let mut found = [bf16::ZERO];
                bf16::round(&[value], &mut found);
                let expected = bf16::from_f32(value);
                prop_assert!(found[0] == expected || found[0].is_nan() && expected.is_nan());
                prop_assert_eq!(bf16::all_finite(&found), expected.is_finite());
            }
        }
    }
}
