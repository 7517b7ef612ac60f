use std::arch::x86_64::{
    __m512i, _mm512_dpbusd_epi32, _mm512_load_si512, _mm512_set1_epi32, _mm512_setzero_si512,
    _mm512_storeu_si512,
};

use super::{GROUP, Group, Operands, PANEL, Panel, RowScale, Sums, by_rows, inputs, rows};

/// Outputs of a register.
const LANES: usize = 16;
/// Registers of a panel.
const REGISTERS: usize = PANEL / LANES;
/// Rows whose sums the 32 registers hold, beside a group's weights.
const ROWS: usize = 6;

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(in super::super) fn quantize(row: &[f32], bytes: &mut [u8]) -> RowScale {
    rows::quantize(row, bytes)
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(in super::super) fn multiply(
    operands: &Operands<'_>,
    panel: &Panel<'_>,
    give: &mut impl FnMut(usize, &[f32]),
) {
    by_rows::<ROWS>(operands, panel, give, |bytes, sums| match sums.len() {
        1 => rows_of::<1>(bytes, panel.groups, sums),
        2 => rows_of::<2>(bytes, panel.groups, sums),
        3 => rows_of::<3>(bytes, panel.groups, sums),
        4 => rows_of::<4>(bytes, panel.groups, sums),
        5 => rows_of::<5>(bytes, panel.groups, sums),
        _ => rows_of::<ROWS>(bytes, panel.groups, sums),
    });
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn rows_of<const N: usize>(bytes: &[u8], groups: &[Group], sums: &mut [Sums]) {
    let stride = groups.len() * GROUP;
    assert!(bytes.len() == N * stride, "N rows");
    let mut registers = [[_mm512_setzero_si512(); REGISTERS]; N];
    for (at, group) in groups.iter().enumerate() {
        let weights: [__m512i; REGISTERS] = std::array::from_fn(|register| {
            // SAFETY: a group is as long as all registers, and lies at a multiple of 64.
            unsafe { _mm512_load_si512(group.0.as_ptr().cast::<__m512i>().add(register)) }
        });
        for (row, registers) in registers.iter_mut().enumerate() {
            // SAFETY: there are N rows of as many groups.
            let inputs = _mm512_set1_epi32(unsafe { inputs(bytes, stride, row, at) });
            for (sum, weights) in registers.iter_mut().zip(weights) {
                *sum = _mm512_dpbusd_epi32(*sum, inputs, weights);
            }
        }
    }
    for (sums, registers) in sums.iter_mut().zip(registers) {
        for (sums, register) in sums.chunks_exact_mut(LANES).zip(registers) {
            // SAFETY: sixteen sums.
            unsafe { _mm512_storeu_si512(sums.as_mut_ptr().cast(), register) };
        }
    }
}
