use std::arch::x86_64::{
    __m256i, _mm_load_si128, _mm_set1_epi32, _mm256_add_epi32, _mm256_cvtepi8_epi16,
    _mm256_cvtepu8_epi16, _mm256_hadd_epi32, _mm256_madd_epi16, _mm256_permute4x64_epi64,
    _mm256_setzero_si256, _mm256_storeu_si256,
};

use super::{GROUP, Group, Operands, PANEL, Panel, RowScale, Sums, by_rows, inputs, rows};

/// Outputs of a register: each has two sums, of a group's first and last inputs.
const LANES: usize = 4;
/// Registers of a part of a panel.
const REGISTERS: usize = 4;
/// Outputs of a part.
const PART: usize = LANES * REGISTERS;
/// Rows whose sums of a part the 16 registers hold, beside their inputs and some weights.
const ROWS: usize = 2;

#[target_feature(enable = "avx2")]
pub(in super::super) fn quantize(row: &[f32], bytes: &mut [u8]) -> RowScale {
    rows::quantize(row, bytes)
}

#[target_feature(enable = "avx2")]
pub(in super::super) fn multiply(
    operands: &Operands<'_>,
    panel: &Panel<'_>,
    give: &mut impl FnMut(usize, &[f32]),
) {
    by_rows::<ROWS>(operands, panel, give, |bytes, sums| match sums.len() {
        1 => rows_of::<1>(bytes, panel.groups, sums),
        _ => rows_of::<ROWS>(bytes, panel.groups, sums),
    });
}

/// Bytes are widened first: what multiplies them as they are (`maddubs`) stops at 2^15, which two products may pass.
#[target_feature(enable = "avx2")]
fn rows_of<const N: usize>(bytes: &[u8], groups: &[Group], sums: &mut [Sums]) {
    let stride = groups.len() * GROUP;
    assert!(bytes.len() == N * stride, "N rows");
    for part in 0..PANEL / PART {
        let mut registers = [[_mm256_setzero_si256(); REGISTERS]; N];
        for (at, group) in groups.iter().enumerate() {
            // SAFETY: there are N rows of as many groups.
            let inputs: [__m256i; N] = std::array::from_fn(|row| {
                _mm256_cvtepu8_epi16(_mm_set1_epi32(unsafe { inputs(bytes, stride, row, at) }))
            });
            let weights = &group.0[part * PART * GROUP..][..PART * GROUP];
            for (register, weights) in weights.chunks_exact(LANES * GROUP).enumerate() {
                // SAFETY: sixteen bytes, and a group lies at a multiple of 64.
                let weights = unsafe { _mm_load_si128(weights.as_ptr().cast()) };
                let weights = _mm256_cvtepi8_epi16(weights);
                for (registers, inputs) in registers.iter_mut().zip(inputs) {
                    let products = _mm256_madd_epi16(inputs, weights);
                    registers[register] = _mm256_add_epi32(registers[register], products);
                }
            }
        }
        for (sums, registers) in sums.iter_mut().zip(registers) {
            let sums = &mut sums[part * PART..][..PART];
            for (sums, pair) in sums.chunks_exact_mut(2 * LANES).zip(registers.chunks_exact(2)) {
                // Both sums of each output added, in the order 0 1 4 5 2 3 6 7.
                let added = _mm256_hadd_epi32(pair[0], pair[1]);
                let ordered = _mm256_permute4x64_epi64::<0b11_01_10_00>(added);
                // SAFETY: eight sums.
                unsafe { _mm256_storeu_si256(sums.as_mut_ptr().cast(), ordered) };
            }
        }
    }
}
