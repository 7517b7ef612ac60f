//! Every kernel that the processor has beside sums of whole numbers, one product at a time.
use proptest::prelude::*;

use super::*;

fn available() -> impl Iterator<Item = Instructions> {
    Instructions::ALL.iter().copied().filter(|instructions| instructions.are_there())
}

/// As its definition has it: `row scale * column scale * sum of (byte - zero) * weight + bias`.
fn expected(operands: &Operands<'_>, panel: &Panel<'_>) -> Vec<(usize, Vec<f32>)> {
    let result = |row: usize, output: usize| {
        let RowScale { scale, zero } = operands.scales[row];
        let bytes = &operands.bytes[row * operands.stride..][..operands.stride];
        let weights = panel.groups.iter().flat_map(|group| &group.0[output * GROUP..][..GROUP]);
        let products = bytes
            .iter()
            .zip(weights)
            .map(|(&byte, &weight)| (i64::from(byte) - i64::from(zero)) * i64::from(weight));
        let sum = products.sum::<i64>() as f32;
        sum * (scale * panel.columns[output].scale) + panel.bias[output]
    };
    let rows = 0..operands.scales.len();
    rows.map(|row| (row, (0..panel.bias.len()).map(|output| result(row, output)).collect()))
        .collect()
}

/// Columns with the sums that these groups have.
fn columns(groups: &[Group], scale: impl Fn(usize) -> f32) -> [Column; PANEL] {
    std::array::from_fn(|output| {
        let bytes = groups.iter().flat_map(|group| &group.0[output * GROUP..][..GROUP]);
        Column { scale: scale(output), sum: bytes.map(|&byte| i32::from(byte)).sum() }
    })
}

fn check(operands: &Operands<'_>, panel: &Panel<'_>) {
    let expected = expected(operands, panel);
    for by in available() {
        let mut found = Vec::new();
        multiply(by, operands, panel, |row, results| found.push((row, results.to_vec())));
        assert_eq!(found, expected, "{by:?}");
    }
}

#[test]
fn the_longest_row_of_the_largest_bytes_does_not_overflow() {
    for by in Instructions::ALL.iter().filter(|by| !by.are_there()) {
        println!("skipped in all tests of kernels: this processor has no {by:?}");
    }
    let length = super::super::QuantizedWeight::MOST_INPUTS;
    for (byte, weight, zero) in
        [(255, 127, 0), (255, -127, 0), (255, 127, 255), (0, 127, 255), (0, -127, 255)]
    {
        let groups = vec![Group([weight; PANEL * GROUP]); length / GROUP];
        // As many as any kernel but the plain one takes at once, and one beside them.
        let rows = 7;
        let bytes = vec![byte; rows * length];
        let scales = vec![RowScale { scale: 1.0, zero }; rows];
        let operands = Operands { bytes: &bytes, stride: length, scales: &scales };
        let columns = columns(&groups, |_| 1.0);
        check(&operands, &Panel { groups: &groups, columns: &columns, bias: &[0.5; PANEL] });
    }
}

#[test]
fn rows_are_quantized_to_the_same_bytes_whatever_they_hold() {
    let mut random = fastrand::Rng::with_seed(1);
    let special = [0.0, -0.0, 1e-42, 1e4, -3e38, 3e38, f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
    for length in (1..70).chain([1920, 1923]) {
        for special in special {
            let mut row: Vec<f32> = (0..length).map(|_| random.f32() * 8.0 - 1.0).collect();
            row[random.usize(0..length)] = special;
            let mut expected = vec![7; length.next_multiple_of(GROUP)];
            let scale = rows::quantize(&row, &mut expected);
            assert_eq!(scale.scale.is_finite(), special.is_finite(), "{special}");
            for by in available() {
                let mut bytes = vec![9; expected.len()];
                let found = quantize(by, &row, &mut bytes);
                assert_eq!(found.scale.to_bits(), scale.scale.to_bits(), "{by:?}, {special}");
                assert_eq!((found.zero, &bytes), (scale.zero, &expected), "{by:?}, {special}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..Default::default() })]

    #[test]
    fn every_kernel_gives_the_bits_of_whole_numbers(
        rows in 1..40usize, groups in 1..90usize, width in 1..=PANEL, seed: u64, extreme: bool,
    ) {
        let mut random = fastrand::Rng::with_seed(seed);
        let stride = groups * GROUP;
        // Pairs of the largest are what instructions that saturate would get wrong.
        let bytes: Vec<u8> = (0..rows * stride)
            .map(|_| if extreme && random.bool() { 255 } else { random.u8(..) })
            .collect();
        let groups: Vec<Group> = (0..groups)
            .map(|_| Group(std::array::from_fn(|_| match extreme && random.bool() {
                true => if random.bool() { 127 } else { -127 },
                false => random.i8(-127..=127),
            })))
            .collect();
        let scales: Vec<RowScale> =
            (0..rows).map(|_| RowScale { scale: random.f32(), zero: random.i32(0..256) }).collect();
        let bias: Vec<f32> = (0..width).map(|_| random.f32() - 0.5).collect();
        let columns = columns(&groups, |output| (output + 1) as f32 / 100.0);
        let operands = Operands { bytes: &bytes, stride, scales: &scales };
        check(&operands, &Panel { groups: &groups, columns: &columns, bias: &bias });
    }
}
