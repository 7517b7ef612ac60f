use std::ops::Range;

use super::rows::{Rows, Section};
use crate::{
    MatrixUnit, PackedWeight,
    layout::{Line, PANEL, PIECE_LINES, TILE},
    shared_slice::SharedSlice,
    unit::{Block, Tiles, lines_ahead},
};

/// Some columns of a product, for a block of rows.
pub(super) struct Task<'a> {
    pub(super) weight: &'a PackedWeight,
    pub(super) rows: &'a Rows,
    /// The pieces of the activations.
    pub(super) lines: &'a [Line],
    /// As long as all panels of the weight.
    pub(super) bias: &'a [f32],
    /// The weight's panels: the columns.
    pub(super) panels: Range<usize>,
    /// The result, `[rows, out]`.
    pub(super) y: &'a SharedSlice<'a, f32>,
}

impl Task<'_> {
    /// # Safety
    /// Nobody else reads or writes the task's columns of `y` meanwhile.
    pub(super) unsafe fn run(&self, unit: MatrixUnit) {
        let tiles = unit.tiles();
        for section in self.rows.sections() {
            for panel in self.panels.clone() {
                // SAFETY: the caller's promise.
                unsafe { self.columns(&tiles, &section, panel) };
            }
        }
    }

    /// Adds a section's products with one panel of the weight.
    ///
    /// # Safety
    /// As [`Self::run`].
    unsafe fn columns(&self, tiles: &Tiles, section: &Section, panel: usize) {
        let pieces = self.weight.pieces();
        let part = |panel: usize| {
            let step_lines = pieces * PIECE_LINES;
            &self.weight.panel(panel)[section.steps.start * step_lines..]
                [..section.steps.len() * step_lines]
        };
        let weight = part(panel);
        // While this panel is multiplied the next one is brought near, a bit with each block.
        let next = part((panel + 1).min(self.panels.end - 1));
        let ahead = lines_ahead(pieces) * section.steps.len();
        for (index, row_panel) in section.panels.clone().enumerate() {
            let next = next.get(index * ahead..).filter(|next| !next.is_empty()).unwrap_or(weight);
            let activations = &self.lines[self.rows.place(section, row_panel)];
            let multiply = |block: Block| {
                // SAFETY: `block` answers for the block.
                unsafe { tiles.multiply(activations, weight, pieces, &block) }
            };
            // SAFETY: the caller's promise.
            unsafe { self.block(section, row_panel, panel, next.as_ptr(), multiply) };
        }
    }

    /// Calls `multiply` with the block of the result where a panel of rows meets one of the weight: in place where whole
    /// tiles fit, else with a copy.
    ///
    /// # Safety
    /// As [`Self::run`].
    unsafe fn block(
        &self,
        section: &Section,
        row_panel: usize,
        panel: usize,
        next: *const Line,
        multiply: impl FnOnce(Block),
    ) {
        let outputs = self.weight.outputs();
        let (first_row, first_column) = (row_panel * PANEL, panel * PANEL);
        let height = PANEL.min(self.rows.count - first_row);
        let width = PANEL.min(outputs - first_column);
        let is_first = section.steps.start == 0;
        let bias = &self.bias[first_column..][..PANEL];
        if width == PANEL && height.is_multiple_of(TILE) {
            let target = self.y.pointer(first_row * outputs + first_column);
            let (start, start_stride) =
                if is_first { (bias.as_ptr(), 0) } else { (target.cast_const(), outputs) };
            let height = height / TILE;
            return multiply(Block { start, start_stride, target, stride: outputs, height, next });
        }
        let part = |row: usize| {
            let start = (first_row + row) * outputs + first_column;
            // SAFETY: of the task's columns, which are the caller's alone; one part at a time.
            unsafe { self.y.part(start..start + width) }
        };
        let mut sums = [0.0f32; PANEL * PANEL];
        for (row, sums) in sums.chunks_exact_mut(PANEL).take(height).enumerate() {
            sums[..width].copy_from_slice(if is_first { &bias[..width] } else { part(row) });
        }
        multiply(Block {
            start: sums.as_ptr(),
            start_stride: PANEL,
            target: sums.as_mut_ptr(),
            stride: PANEL,
            height: height.div_ceil(TILE),
            next,
        });
        for (row, sums) in sums.chunks_exact(PANEL).take(height).enumerate() {
            part(row).copy_from_slice(&sums[..width]);
        }
    }
}
