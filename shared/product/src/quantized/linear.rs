use super::{PANEL, QuantizedWeight, kernel};
use crate::{ProductError, Scratch, Threads, linear::check, shared_slice::SharedSlice};

/// Rows that are quantized and multiplied at a time; bounds what a [`Scratch`] takes.
const ROWS: usize = 512;
/// Rows that one task quantizes.
const TASK_ROWS: usize = 16;
/// Tasks for each thread, so that a slow one is not waited for long.
const TASKS: usize = 4;

/// `y = x W^T + b` with `W` in bytes, and `x` in bytes meanwhile: quantized row by row, its least and greatest value
/// becoming 0 and 255.
#[derive(Clone, Copy, Debug)]
pub struct QuantizedLinear<'a> {
    /// `W`, `[out, in]`.
    pub weight: &'a QuantizedWeight,
    /// `b`, `[out]`; nothing where it is absent.
    pub bias: Option<&'a [f32]>,
}

impl QuantizedLinear<'_> {
    /// Computes `y` of `[rows, out]` from `x` of `[rows, in]`.
    ///
    /// A row with a value that is not finite has no finite result. Neither the processor nor the threads change a bit.
    ///
    /// # Errors
    /// [`ProductError::Length`] when an operand does not fit the weight and `rows`.
    pub fn apply(
        &self,
        rows: usize,
        x: &[f32],
        y: &mut [f32],
        threads: &dyn Threads,
        scratch: &mut Scratch,
    ) -> Result<(), ProductError> {
        let (inputs, outputs) = (self.weight.inputs(), self.weight.outputs());
        check("activations", rows.saturating_mul(inputs), x.len())?;
        check("result", rows.saturating_mul(outputs), y.len())?;
        if let Some(bias) = self.bias {
            check("bias", outputs, bias.len())?;
        }
        if y.is_empty() {
            return Ok(());
        }
        scratch.bias.clear();
        scratch.bias.extend_from_slice(self.bias.unwrap_or_default());
        scratch.bias.resize(outputs, 0.0);
        if inputs == 0 {
            y.chunks_exact_mut(outputs).for_each(|y| y.copy_from_slice(&scratch.bias));
            return Ok(());
        }
        let blocks = y.chunks_mut(ROWS * outputs).zip(x.chunks(ROWS * inputs));
        blocks.for_each(|(y, x)| self.rows(x, y, threads, scratch));
        Ok(())
    }

    /// At most [`ROWS`] rows: first all are quantized, then each task computes its columns of all of them.
    fn rows(&self, x: &[f32], y: &mut [f32], threads: &dyn Threads, scratch: &mut Scratch) {
        let (inputs, outputs) = (self.weight.inputs(), self.weight.outputs());
        let groups = self.weight.groups_of_panel();
        let (rows, stride) = (x.len() / inputs, groups * super::GROUP);
        let Scratch { bytes, scales, bias, .. } = scratch;
        bytes.resize(bytes.len().max(rows * stride), 0);
        scales.resize(scales.len().max(rows), super::RowScale::default());
        let (bytes, scales) = (&mut bytes[..rows * stride], &mut scales[..rows]);
        let (to, of) = (SharedSlice::new(bytes), SharedSlice::new(scales));
        let by = kernel::Instructions::best();
        threads.each(rows.div_ceil(TASK_ROWS), &|task| {
            for row in task * TASK_ROWS..rows.min((task + 1) * TASK_ROWS) {
                // SAFETY: every row is quantized by one task.
                let (bytes, scale) =
                    unsafe { (to.part(row * stride..(row + 1) * stride), of.part(row..row + 1)) };
                scale[0] = kernel::quantize(by, &x[row * inputs..(row + 1) * inputs], bytes);
            }
        });

        let operands = kernel::Operands { bytes, stride, scales };
        let panels = outputs.div_ceil(PANEL);
        let tasks = threads.count().clamp(1, panels).saturating_mul(TASKS).min(panels);
        let y = SharedSlice::new(y);
        let (columns, _) = self.weight.columns.as_chunks::<PANEL>();
        threads.each(tasks, &|task| {
            let panels = panels * task / tasks..panels * (task + 1) / tasks;
            for (panel, columns) in panels.clone().zip(&columns[panels]) {
                let first = panel * PANEL;
                let bias = &bias[first..outputs.min(first + PANEL)];
                let groups = &self.weight.groups[panel * groups..(panel + 1) * groups];
                let part = kernel::Panel { groups, columns, bias };
                kernel::multiply(by, &operands, &part, |row, results| {
                    let start = row * outputs + first;
                    // SAFETY: the tasks' panels, and so their columns of `y`, are apart.
                    let place = unsafe { y.part(start..start + results.len()) };
                    place.copy_from_slice(results);
                });
            }
        });
    }
}
