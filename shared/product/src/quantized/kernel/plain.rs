use super::{GROUP, Group, Operands, PANEL, Panel, Sums, by_rows};

/// Rows that a group of weights is widened for.
const ROWS: usize = 16;

pub(super) fn multiply(
    operands: &Operands<'_>,
    panel: &Panel<'_>,
    give: &mut impl FnMut(usize, &[f32]),
) {
    by_rows::<ROWS>(operands, panel, give, |bytes, sums| add(bytes, panel.groups, sums));
}

/// Weights are laid out input by input first: compilers multiply neighbours by one number at once, not every fourth.
fn add(bytes: &[u8], groups: &[Group], sums: &mut [Sums]) {
    let stride = groups.len() * GROUP;
    for (at, group) in groups.iter().enumerate() {
        let mut weights = [[0i16; PANEL]; GROUP];
        for (output, of_output) in group.0.chunks_exact(GROUP).enumerate() {
            for (weights, &weight) in weights.iter_mut().zip(of_output) {
                weights[output] = i16::from(weight);
            }
        }
        for (sums, row) in sums.iter_mut().zip(bytes.chunks_exact(stride)) {
            let inputs = &row[at * GROUP..][..GROUP];
            let inputs: [i16; GROUP] = std::array::from_fn(|input| i16::from(inputs[input]));
            for (output, sum) in sums.iter_mut().enumerate() {
                for (input, weights) in inputs.iter().zip(&weights) {
                    *sum += i32::from(*input) * i32::from(weights[output]);
                }
            }
        }
    }
}
