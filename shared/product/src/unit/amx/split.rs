use std::arch::x86_64::{
    __m512, __m512i, _mm512_castsi512_ps, _mm512_castsi512_si256, _mm512_cvtepu16_epi32,
    _mm512_cvtne2ps_pbh, _mm512_extracti64x4_epi64, _mm512_maskz_loadu_ps, _mm512_slli_epi32,
    _mm512_store_si512, _mm512_sub_ps,
};

use super::Unit;
use crate::layout::{Line, MOST_PIECES, STEP};

/// See [`super::super::MatrixUnit::split`].
pub(in crate::unit) fn split(_: Unit, values: &[f32], lines: &mut [Line], stride: usize) {
    assert!(values.len() <= STEP && lines.len() > stride * (MOST_PIECES - 1));
    // SAFETY: a unit proves the instructions; the assertion covers every line that is written, and the values' length
    // is what is read.
    unsafe { split_32(values.as_ptr(), values.len(), lines.as_mut_ptr(), stride) }
}

/// # Safety
/// `count` values, at most 32, can be read, and the lines 0, `stride` and `2 * stride` written; the processor has the
/// features.
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn split_32(values: *const f32, count: usize, lines: *mut Line, stride: usize) {
    let mask = ((1u64 << count) - 1) as u32;
    // SAFETY: masked lanes are not read.
    let mut low = unsafe { _mm512_maskz_loadu_ps(mask as u16, values) };
    // SAFETY: as above; the address itself may lie beyond the values where no lane is read.
    let mut high = unsafe { _mm512_maskz_loadu_ps((mask >> 16) as u16, values.wrapping_add(16)) };
    for piece in 0..MOST_PIECES {
        let rounded: __m512i = {
            let pair = _mm512_cvtne2ps_pbh(high, low);
            // SAFETY: both are 64 bytes of which every pattern is a value.
            unsafe { std::mem::transmute(pair) }
        };
        // SAFETY: the line is the caller's, and aligned to 64 bytes by its type.
        unsafe { _mm512_store_si512(lines.add(piece * stride).cast(), rounded) };
        low = _mm512_sub_ps(low, widened(rounded, false));
        high = _mm512_sub_ps(high, widened(rounded, true));
    }
}

/// The lower or upper 16 bf16 numbers as fp32: their bits are its upper half.
#[target_feature(enable = "avx512f")]
fn widened(bits: __m512i, upper: bool) -> __m512 {
    let half =
        if upper { _mm512_extracti64x4_epi64::<1>(bits) } else { _mm512_castsi512_si256(bits) };
    _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(half)))
}
