//! Products of bytes: by AVX-512 VNNI where the processor has it, else by whatever the compiler makes of them. Sums of
//! whole numbers are exact, so both give the same bits.

#[cfg(target_arch = "x86_64")]
mod vnni;

use std::sync::OnceLock;

use super::{Column, GROUP, Group, PANEL, RowScale, rows};

/// Rows that are multiplied together: as many as the registers hold sums of.
pub(super) const ROWS: usize = 6;

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

/// Quantizes a row, see [`rows::quantize`].
pub(super) fn quantize(row: &[f32], bytes: &mut [u8]) -> RowScale {
    #[cfg(target_arch = "x86_64")]
    if has_vnni() {
        // SAFETY: the processor has the instructions.
        return unsafe { vnni::quantize(row, bytes) };
    }
    rows::quantize(row, bytes)
}

/// Hands the results of all rows with one panel over, row by row.
pub(super) fn multiply(
    operands: &Operands<'_>,
    panel: &Panel<'_>,
    mut give: impl FnMut(usize, &[f32]),
) {
    #[cfg(target_arch = "x86_64")]
    if has_vnni() {
        // SAFETY: the processor has the instructions.
        return unsafe { vnni::multiply(operands, panel, &mut give) };
    }
    portable(operands, panel, &mut give);
}

/// The same in plain Rust.
fn portable(operands: &Operands<'_>, panel: &Panel<'_>, give: &mut impl FnMut(usize, &[f32])) {
    for (row, scale) in operands.scales.iter().enumerate() {
        let bytes = &operands.bytes[row * operands.stride..][..operands.stride];
        let sums = sums(bytes, panel.groups);
        let mut results = [0.0; PANEL];
        finish(&sums, *scale, panel, &mut results);
        give(row, &results[..panel.bias.len()]);
    }
}

/// A row's sums over a panel.
fn sums(bytes: &[u8], groups: &[Group]) -> Sums {
    let mut sums = [0; PANEL];
    for (inputs, group) in bytes.chunks_exact(GROUP).zip(groups) {
        for (sum, weights) in sums.iter_mut().zip(group.0.chunks_exact(GROUP)) {
            let pairs = inputs.iter().zip(weights);
            *sum += pairs.map(|(&x, &w)| i32::from(x) * i32::from(w)).sum::<i32>();
        }
    }
    sums
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

#[cfg(target_arch = "x86_64")]
fn has_vnni() -> bool {
    static HAS: OnceLock<bool> = OnceLock::new();
    *HAS.get_or_init(|| {
        is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vnni")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processors_instructions_give_the_bits_of_plain_rust() {
        #[cfg(target_arch = "x86_64")]
        if !has_vnni() {
            println!("skipped: this processor has no AVX-512 VNNI");
        }
        let mut random = fastrand::Rng::with_seed(1);
        for (rows, groups, width) in [(1, 1, 1), (5, 7, 63), (6, 16, 64), (13, 480, 64), (7, 3, 2)]
        {
            let stride = groups * GROUP;
            let bytes: Vec<u8> = (0..rows * stride).map(|_| random.u8(..)).collect();
            let weights: Vec<Group> = (0..groups)
                .map(|_| Group(std::array::from_fn(|_| random.i8(-127..=127))))
                .collect();
            let columns = std::array::from_fn(|_| Column {
                scale: random.f32(),
                sum: random.i32(-9999..9999),
            });
            let bias: Vec<f32> = (0..width).map(|_| random.f32() - 0.5).collect();
            let scales: Vec<RowScale> = (0..rows)
                .map(|_| RowScale { scale: random.f32(), zero: random.i32(0..256) })
                .collect();
            let operands = Operands { bytes: &bytes, stride, scales: &scales };
            let panel = Panel { groups: &weights, columns: &columns, bias: &bias };
            let (mut found, mut expected) = (Vec::new(), Vec::new());
            multiply(&operands, &panel, |row, results| found.push((row, results.to_vec())));
            portable(&operands, &panel, &mut |row, results: &[f32]| {
                expected.push((row, results.to_vec()));
            });
            assert_eq!(found, expected, "{rows} rows, {groups} groups, {width} wide");
            let row: Vec<f32> = (0..stride + 3).map(|_| random.f32() * 8.0 - 1.0).collect();
            let (mut ours, mut theirs) = (vec![0; stride + 4], vec![0; stride + 4]);
            assert_eq!(quantize(&row, &mut ours), rows::quantize(&row, &mut theirs));
            assert_eq!(ours, theirs);
        }
    }

    #[test]
    fn the_longest_row_does_not_overflow() {
        let groups =
            vec![Group([-127; PANEL * GROUP]); super::super::QuantizedWeight::MOST_INPUTS / GROUP];
        let bytes = vec![255; groups.len() * GROUP];
        let expected = -127 * 255 * (groups.len() * GROUP) as i64;
        assert_eq!(i64::from(sums(&bytes, &groups)[0]), expected);
        let columns = [Column { scale: 1.0, sum: -127 * bytes.len() as i32 }; PANEL];
        let scales = [RowScale { scale: 1.0, zero: 255 }];
        let operands = Operands { bytes: &bytes, stride: bytes.len(), scales: &scales };
        let panel = Panel { groups: &groups, columns: &columns, bias: &[0.5; PANEL] };
        // Every value is its row's zero.
        multiply(&operands, &panel, |_, results| assert_eq!(results, [0.5; PANEL]));
    }
}
