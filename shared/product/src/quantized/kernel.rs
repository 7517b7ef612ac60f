//! Products of bytes by what the processor has: AVX-512 VNNI, AVX-VNNI, AVX2, or whatever the compiler makes of plain Rust.
//! Sums of whole numbers are exact, so all give the same bits.

mod plain;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::sync::OnceLock;

use super::{Column, GROUP, Group, PANEL, RowScale, rows};

/// Sums of a row over a panel.
type Sums = [i32; PANEL];

/// Quantized activations and where their products go.
pub(super) struct Operands<'a> {
    /// `[rows, stride]`.
    pub(super) bytes: &'a [u8],
    /// Bytes from one row to the next: the inputs in whole groups.
    pub(super) stride: usize,
    pub(super) scales: &'a [RowScale],
}

/// A panel of a weight.
pub(super) struct Panel<'a> {
    pub(super) groups: &'a [Group],
    pub(super) columns: &'a [Column; PANEL],
    /// Added to the result: as many as the panel has outputs.
    pub(super) bias: &'a [f32],
}

/// What products are computed by, the fastest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Instructions {
    /// 64 products of bytes at once.
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
    /// 32 products of bytes at once.
    #[cfg(target_arch = "x86_64")]
    AvxVnni,
    /// 16 products of bytes that were widened.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// Plain Rust.
    Plain,
}

impl Instructions {
    const ALL: &[Self] = &[
        #[cfg(target_arch = "x86_64")]
        Self::Avx512Vnni,
        #[cfg(target_arch = "x86_64")]
        Self::AvxVnni,
        #[cfg(target_arch = "x86_64")]
        Self::Avx2,
        Self::Plain,
    ];

    /// The fastest that the processor has.
    pub(super) fn best() -> Self {
        static BEST: OnceLock<Instructions> = OnceLock::new();
        let best = || Self::ALL.iter().copied().find(|instructions| instructions.are_there());
        *BEST.get_or_init(|| best().unwrap_or(Self::Plain))
    }

    fn are_there(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vnni")
            }
            #[cfg(target_arch = "x86_64")]
            Self::AvxVnni => {
                is_x86_feature_detected!("avx2") && is_x86_feature_detected!("avxvnni")
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2"),
            Self::Plain => true,
        }
    }
}

/// Quantizes a row, see [`rows::quantize`]. The processor must have the instructions.
pub(super) fn quantize(by: Instructions, row: &[f32], bytes: &mut [u8]) -> RowScale {
    match by {
        // SAFETY: `Instructions::best` gives those that are there.
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx512Vnni => unsafe { x86::avx512_vnni::quantize(row, bytes) },
        // SAFETY: both kinds have AVX2.
        #[cfg(target_arch = "x86_64")]
        Instructions::AvxVnni | Instructions::Avx2 => unsafe { x86::avx2::quantize(row, bytes) },
        Instructions::Plain => rows::quantize(row, bytes),
    }
}

/// Hands the results of all rows with one panel over, row by row. The processor must have the instructions.
pub(super) fn multiply(
    by: Instructions,
    operands: &Operands<'_>,
    panel: &Panel<'_>,
    mut give: impl FnMut(usize, &[f32]),
) {
    match by {
        // SAFETY: `Instructions::best` gives those that are there.
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx512Vnni => unsafe {
            x86::avx512_vnni::multiply(operands, panel, &mut give);
        },
        // SAFETY: likewise.
        #[cfg(target_arch = "x86_64")]
        Instructions::AvxVnni => unsafe { x86::avx_vnni::multiply(operands, panel, &mut give) },
        // SAFETY: likewise.
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx2 => unsafe { x86::avx2::multiply(operands, panel, &mut give) },
        Instructions::Plain => plain::multiply(operands, panel, &mut give),
    }
}

/// Takes `N` rows at a time, the last time fewer: `sum` is given their bytes, and zeros to make their sums of.
#[inline(always)]
fn by_rows<const N: usize>(
    operands: &Operands<'_>,
    panel: &Panel<'_>,
    give: &mut impl FnMut(usize, &[f32]),
    sum: impl Fn(&[u8], &mut [Sums]),
) {
    // Kernels read as many bytes of a row as the panel has.
    assert_eq!(operands.stride, panel.groups.len() * GROUP, "rows as long as the panel's");
    let mut results = [0.0; PANEL];
    for (chunk, scales) in operands.scales.chunks(N).enumerate() {
        let start = chunk * N * operands.stride;
        let mut sums = [[0; PANEL]; N];
        let sums = &mut sums[..scales.len()];
        sum(&operands.bytes[start..start + scales.len() * operands.stride], sums);
        for (at, (scale, sums)) in scales.iter().zip(sums).enumerate() {
            finish(sums, *scale, panel, &mut results);
            give(chunk * N + at, &results[..panel.bias.len()]);
        }
    }
}

/// `y = row scale * column scale * (sum - zero * sum of the weights) + bias`.
#[inline(always)]
fn finish(sums: &Sums, row: RowScale, panel: &Panel<'_>, results: &mut [f32; PANEL]) {
    for (at, result) in results.iter_mut().enumerate().take(panel.bias.len()) {
        let Column { scale, sum } = panel.columns[at];
        // Both are below 2^31 as `QuantizedWeight::MOST_INPUTS` has it, and so is what is between them.
        let exact = sums[at].wrapping_sub(row.zero.wrapping_mul(sum));
        *result = exact as f32 * (row.scale * scale) + panel.bias[at];
    }
}

#[cfg(test)]
mod tests;
