use std::ops::Range;

use crate::layout::{Line, MOST_PIECES, PANEL, PIECE_LINES};

/// Panels that a section has at most. A panel of the weight is used by all of them once it is near; more would leave a
/// section fewer steps, and sums go to memory and back for every section.
const MOST_PANELS: usize = 6;
/// Lines of a section: they stay in a core's cache of the second level, 2 MiB on the processors that have the unit,
/// beside what passes through it. Measured with 1,920 inputs and outputs: 768 KiB and 6 panels give 0.29 TFLOP/s of fp32,
/// 1,280 KiB or 15 panels 0.25.
const SECTION_LINES: usize = (768 << 10) / size_of::<Line>();
/// Lines of a panel's step: all pieces.
const STEP_LINES: usize = MOST_PIECES * PIECE_LINES;

/// How the pieces of a block of rows lie: one section after the other, in each panel after panel.
pub(super) struct Rows {
    pub(super) count: usize,
    steps: usize,
    steps_of_section: usize,
    panels_of_section: usize,
}

/// Some panels of activations, and some of their steps.
pub(super) struct Section {
    /// Its first line.
    start: usize,
    pub(super) panels: Range<usize>,
    pub(super) steps: Range<usize>,
}

impl Rows {
    /// For so many rows of so many steps, neither of them zero.
    pub(super) fn new(count: usize, steps: usize) -> Self {
        // Sections of equal size, nearly.
        let even = |all: usize, most: usize| all.div_ceil(all.div_ceil(most));
        let panels_of_section = even(count.div_ceil(PANEL), MOST_PANELS);
        let most = (SECTION_LINES / (panels_of_section * STEP_LINES)).max(1);
        Self { count, steps, steps_of_section: even(steps, most), panels_of_section }
    }

    pub(super) fn panels(&self) -> usize {
        self.count.div_ceil(PANEL)
    }

    pub(super) fn lines(&self) -> usize {
        self.steps * self.panels() * STEP_LINES
    }

    /// In order: those of the same panels by their steps.
    pub(super) fn sections(&self) -> impl Iterator<Item = Section> {
        (0..self.panels()).step_by(self.panels_of_section).flat_map(move |panel| {
            let panels = panel..self.panels().min(panel + self.panels_of_section);
            (0..self.steps).step_by(self.steps_of_section).map(move |step| Section {
                start: (panels.start * self.steps + step * panels.len()) * STEP_LINES,
                panels: panels.clone(),
                steps: step..self.steps.min(step + self.steps_of_section),
            })
        })
    }

    /// The lines of one of a section's panels.
    pub(super) fn place(&self, section: &Section, panel: usize) -> Range<usize> {
        let length = section.steps.len() * STEP_LINES;
        let start = section.start + (panel - section.panels.start) * length;
        start..start + length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_of_every_panel_has_a_place_of_its_own() {
        for (count, steps) in [(1, 1), (33, 61), (192, 60), (480, 240), (512, 7), (500, 1)] {
            let rows = Rows::new(count, steps);
            let mut places: Vec<_> = rows
                .sections()
                .flat_map(|s| s.panels.clone().map(|p| rows.place(&s, p)).collect::<Vec<_>>())
                .collect();
            places.sort_by_key(|place| place.start);
            let mut end = 0;
            for place in places {
                assert_eq!(place.start, end, "{count} rows, {steps} steps");
                end = place.end;
            }
            assert_eq!(end, rows.lines(), "{count} rows, {steps} steps");
            assert_eq!(end, count.div_ceil(PANEL) * steps * STEP_LINES);
        }
    }
}
