mod rows;
mod task;

use crate::{
    MatrixUnit, PackedWeight, ProductError,
    layout::{Line, MOST_PIECES, PANEL, PIECE_LINES, STEP},
    quantized::RowScale,
    shared_slice::SharedSlice,
};
use rows::{Rows, Section};
use task::Task;

/// Rows that are cut into pieces and multiplied at a time; bounds what a [`Scratch`] takes.
const ROWS: usize = 512;
/// Tasks for each thread, so that a slow one is not waited for long.
const TASKS: usize = 4;

/// Threads that work on one product.
///
/// # Safety
/// [`Self::each`] calls `work` with each number once: what the calls write to has been divided among the numbers.
pub unsafe trait Threads {
    /// How many there are.
    fn count(&self) -> usize;

    /// Calls `work` once with each number below `tasks`, on any of the threads; done when all are.
    fn each(&self, tasks: usize, work: &(dyn Fn(usize) + Sync));
}

/// Memory that products use and leave for the next: of up to 512 rows the pieces, 6 bytes a value, or bytes, 1 a value.
#[derive(Debug, Default)]
pub struct Scratch {
    lines: Vec<Line>,
    pub(crate) bytes: Vec<u8>,
    pub(crate) scales: Vec<RowScale>,
    pub(crate) bias: Vec<f32>,
}

/// `y = x W^T + b`.
#[derive(Clone, Copy, Debug)]
pub struct Linear<'a> {
    /// Does it.
    pub unit: MatrixUnit,
    /// `W`, `[out, in]`.
    pub weight: &'a PackedWeight,
    /// `b`, `[out]`; nothing where it is absent.
    pub bias: Option<&'a [f32]>,
}

impl Linear<'_> {
    /// Computes `y` of `[rows, out]` from `x` of `[rows, in]`.
    ///
    /// A row with a value that is not finite, or that bf16 rounds to infinity (3.39e38), has no finite result. Which
    /// threads take part, and how many, changes no bit.
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
        // As long as all panels: a block starts from 32 values of it.
        scratch.bias.clear();
        scratch.bias.extend_from_slice(self.bias.unwrap_or_default());
        scratch.bias.resize(outputs.next_multiple_of(PANEL), 0.0);
        if inputs == 0 {
            y.chunks_exact_mut(outputs).for_each(|y| y.copy_from_slice(&scratch.bias[..outputs]));
            return Ok(());
        }
        let blocks = y.chunks_mut(ROWS * outputs).zip(x.chunks(ROWS * inputs));
        blocks.for_each(|(y, x)| self.rows(x, y, threads, scratch));
        Ok(())
    }

    /// At most [`ROWS`] rows: first all are cut into pieces, then each task computes its columns of all of them.
    fn rows(&self, x: &[f32], y: &mut [f32], threads: &dyn Threads, scratch: &mut Scratch) {
        let Scratch { lines, bias, .. } = scratch;
        let rows = Rows::new(x.len() / self.weight.inputs(), self.weight.steps());
        if lines.len() < rows.lines() {
            lines.resize(rows.lines(), bytemuck::Zeroable::zeroed());
        }
        let lines = &mut lines[..rows.lines()];
        let shared = SharedSlice::new(lines);
        threads.each(rows.panels(), &|panel| {
            for section in rows.sections().filter(|section| section.panels.contains(&panel)) {
                let place = rows.place(&section, panel);
                // SAFETY: every panel has its own lines, and there is one task a panel.
                self.split(x, panel, &section, unsafe { shared.part(place) });
            }
        });

        let panels = self.weight.outputs().div_ceil(PANEL);
        let tasks = threads.count().clamp(1, panels).saturating_mul(TASKS).min(panels);
        let y = SharedSlice::new(y);
        threads.each(tasks, &|task| {
            let panels = panels * task / tasks..panels * (task + 1) / tasks;
            let task = Task { weight: self.weight, rows: &rows, lines, bias, panels, y: &y };
            // SAFETY: the tasks' panels, and so their columns of `y`, are apart.
            unsafe { task.run(self.unit) };
        });
    }

    /// Cuts a panel of activations into pieces, for the steps of a section.
    fn split(&self, x: &[f32], panel: usize, section: &Section, lines: &mut [Line]) {
        let inputs = self.weight.inputs();
        for row in 0..PANEL {
            // Beyond the last row there are no values, and the pieces are zero.
            let values = x.get((panel * PANEL + row) * inputs..).unwrap_or_default();
            let values = &values[..inputs.min(values.len())];
            for (at, step) in section.steps.clone().enumerate() {
                let values = values.get(step * STEP..).unwrap_or_default();
                let lines = &mut lines[at * MOST_PIECES * PIECE_LINES + row..];
                self.unit.split(&values[..STEP.min(values.len())], lines, PIECE_LINES);
            }
        }
    }
}

pub(crate) fn check(
    operand: &'static str,
    expected: usize,
    found: usize,
) -> Result<(), ProductError> {
    if expected == found { Ok(()) } else { Err(ProductError::Length { operand, expected, found }) }
}
