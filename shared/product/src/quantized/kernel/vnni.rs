use std::arch::x86_64::{
    __m512i, _mm512_dpbusd_epi32, _mm512_load_si512, _mm512_set1_epi32, _mm512_setzero_si512,
    _mm512_storeu_si512,
};

use super::{GROUP, Group, Operands, PANEL, Panel, ROWS, RowScale, Sums, finish, rows};

/// Registers of a panel.
const REGISTERS: usize = PANEL / 16;

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) fn quantize(row: &[f32], bytes: &mut [u8]) -> RowScale {
    rows::quantize(row, bytes)
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) fn multiply(
    operands: &Operands<'_>,
    panel: &Panel<'_>,
    give: &mut impl FnMut(usize, &[f32]),
) {
    let mut first = 0;
    let mut sums = [[0; PANEL]; ROWS];
    for scales in operands.scales.chunks(ROWS) {
        let start = first * operands.stride;
        let bytes = &operands.bytes[start..start + scales.len() * operands.stride];
        match scales.len() {
            1 => rows_of::<1>(bytes, operands.stride, panel.groups, &mut sums),
            2 => rows_of::<2>(bytes, operands.stride, panel.groups, &mut sums),
            3 => rows_of::<3>(bytes, operands.stride, panel.groups, &mut sums),
            4 => rows_of::<4>(bytes, operands.stride, panel.groups, &mut sums),
            5 => rows_of::<5>(bytes, operands.stride, panel.groups, &mut sums),
            _ => rows_of::<ROWS>(bytes, operands.stride, panel.groups, &mut sums),
        }
        let mut results = [0.0; PANEL];
        for (at, (scale, sums)) in scales.iter().zip(&sums).enumerate() {
            finish(sums, *scale, panel, &mut results);
            give(first + at, &results[..panel.bias.len()]);
        }
        first += scales.len();
    }
}

/// The sums of `N` rows, all in registers.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn rows_of<const N: usize>(bytes: &[u8], stride: usize, groups: &[Group], sums: &mut [Sums; ROWS]) {
    assert!(stride == groups.len() * GROUP && bytes.len() == N * stride && N <= ROWS);
    let mut registers = [[_mm512_setzero_si512(); REGISTERS]; N];
    for (at, group) in groups.iter().enumerate() {
        let weights: [__m512i; REGISTERS] = std::array::from_fn(|register| {
            // SAFETY: a group is as long as all registers, and lies at a multiple of 64.
            unsafe { _mm512_load_si512(group.0.as_ptr().cast::<__m512i>().add(register)) }
        });
        for (row, registers) in registers.iter_mut().enumerate() {
            // SAFETY: within the row, which has whole groups.
            let inputs = unsafe {
                bytes.as_ptr().add(row * stride + at * GROUP).cast::<i32>().read_unaligned()
            };
            let inputs = _mm512_set1_epi32(inputs);
            for (sum, weights) in registers.iter_mut().zip(weights) {
                *sum = _mm512_dpbusd_epi32(*sum, inputs, weights);
            }
        }
    }
    for (sums, registers) in sums.iter_mut().zip(registers) {
        for (sums, register) in sums.chunks_exact_mut(16).zip(registers) {
            // SAFETY: sixteen sums.
            unsafe { _mm512_storeu_si512(sums.as_mut_ptr().cast(), register) };
        }
    }
}
