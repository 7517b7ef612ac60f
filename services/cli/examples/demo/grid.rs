use cogwheel_video::FrameSize;

use crate::text::{self, LETTER};

/// How often each pixel of a clip is repeated in both directions.
const ZOOM: usize = 2;
/// Pixels between clips, and around text.
const GAP: usize = 8;
const PAPER: [u8; 3] = [24, 26, 30];
const INK: [u8; 3] = [235, 235, 235];
const FAINT: [u8; 3] = [150, 155, 165];

/// Clips in rows and columns: above each row its prompt, under each clip what made it.
pub(crate) struct Grid<'a> {
    prompts: &'a [&'a str],
    labels: &'a [String],
    clip: [usize; 2],
}

impl<'a> Grid<'a> {
    /// For clips of one size.
    pub(crate) fn new(prompts: &'a [&'a str], labels: &'a [String], clip: FrameSize) -> Self {
        Self { prompts, labels, clip: [clip.width as usize, clip.height as usize] }
    }

    /// Pixels of the whole.
    pub(crate) fn size(&self) -> FrameSize {
        let [width, height] = [self.width(), GAP + self.prompts.len() * self.row()];
        FrameSize { width: width as u32, height: height.next_multiple_of(2) as u32 }
    }

    /// One frame of all clips, row by row.
    pub(crate) fn draw<'f>(
        &self,
        rows: impl Iterator<Item = impl Iterator<Item = &'f [u8]>>,
    ) -> Vec<u8> {
        let (width, height) = (self.width(), self.size().height as usize);
        let mut picture = PAPER.repeat(width * height);
        for (row, (clips, prompt)) in rows.zip(self.prompts).enumerate() {
            let top = GAP + row * self.row();
            text::draw(&mut picture, width, [GAP, top], prompt, INK);
            for (column, (clip, label)) in clips.zip(self.labels).enumerate() {
                let (left, top) = (GAP + column * self.column(), top + LETTER + GAP / 2);
                self.place(&mut picture, clip, left, top);
                let under = top + self.clip[1] * ZOOM + GAP / 2;
                text::draw(&mut picture, width, [left, under], label, FAINT);
            }
        }
        picture
    }

    fn place(&self, picture: &mut [u8], clip: &[u8], left: usize, top: usize) {
        let [clip_width, clip_height] = self.clip;
        for y in 0..clip_height * ZOOM {
            for x in 0..clip_width * ZOOM {
                let from = (y / ZOOM * clip_width + x / ZOOM) * 3;
                let to = ((top + y) * self.width() + left + x) * 3;
                picture[to..to + 3].copy_from_slice(&clip[from..from + 3]);
            }
        }
    }

    fn width(&self) -> usize {
        (GAP + self.labels.len() * self.column()).next_multiple_of(2)
    }

    fn column(&self) -> usize {
        self.clip[0] * ZOOM + GAP
    }

    fn row(&self) -> usize {
        self.clip[1] * ZOOM + 2 * LETTER + 3 * GAP
    }
}
