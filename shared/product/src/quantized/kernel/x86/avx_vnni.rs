use std::arch::x86_64::{
    __m256i, _mm256_dpbusd_avx_epi32, _mm256_load_si256, _mm256_set1_epi32, _mm256_setzero_si256,
    _mm256_storeu_si256,
};

use super::{GROUP, Group, Operands, PANEL, Panel, Sums, by_rows, inputs};

/// Outputs of a register.
const LANES: usize = 8;
/// Registers of a part of a panel.
const REGISTERS: usize = 4;
/// Outputs of a part.
const PART: usize = LANES * REGISTERS;
/// Rows whose sums of a part the 16 registers hold, beside their inputs and some weights.
const ROWS: usize = 3;

#[target_feature(enable = "avx2,avxvnni")]
pub(in super::super) fn multiply(
    operands: &Operands<'_>,
    panel: &Panel<'_>,
    give: &mut impl FnMut(usize, &[f32]),
) {
    by_rows::<ROWS>(operands, panel, give, |bytes, sums| match sums.len() {
        1 => rows_of::<1>(bytes, panel.groups, sums),
        2 => rows_of::<2>(bytes, panel.groups, sums),
        _ => rows_of::<ROWS>(bytes, panel.groups, sums),
    });
}

#[target_feature(enable = "avx2,avxvnni")]
fn rows_of<const N: usize>(bytes: &[u8], groups: &[Group], sums: &mut [Sums]) {
    let stride = groups.len() * GROUP;
    assert!(bytes.len() == N * stride, "N rows");
    for part in 0..PANEL / PART {
        let mut registers = [[_mm256_setzero_si256(); REGISTERS]; N];
        for (at, group) in groups.iter().enumerate() {
            // SAFETY: there are N rows of as many groups.
            let inputs: [__m256i; N] = std::array::from_fn(|row| {
                _mm256_set1_epi32(unsafe { inputs(bytes, stride, row, at) })
            });
            let weights = group.0[part * PART * GROUP..][..PART * GROUP].as_ptr();
            for register in 0..REGISTERS {
                // SAFETY: within the part, and a group lies at a multiple of 64.
                let weights = unsafe { _mm256_load_si256(weights.cast::<__m256i>().add(register)) };
                for (registers, inputs) in registers.iter_mut().zip(inputs) {
                    registers[register] =
                        _mm256_dpbusd_avx_epi32(registers[register], inputs, weights);
                }
            }
        }
        for (sums, registers) in sums.iter_mut().zip(registers) {
            let sums = &mut sums[part * PART..][..PART];
            for (sums, register) in sums.chunks_exact_mut(LANES).zip(registers) {
                // SAFETY: eight sums.
                unsafe { _mm256_storeu_si256(sums.as_mut_ptr().cast(), register) };
            }
        }
    }
}
