use std::io::Cursor;
use std::num::NonZeroU64;

use gif::{ColorOutput, DecodeOptions, Decoder, DisposalMethod, Frame, MemoryLimit};

use super::gif_blocks::{GifIndex, scan};
use crate::picture::flatten;
use crate::{FrameSize, Picture, PictureNote, ReadError, ReadLimits};

pub(super) const FORMAT: &str = "gif";

/// Hundredths in a second.
const TICKS: f64 = 100.0;

/// The frames of a GIF, each laid on what the ones before it left on the screen.
pub(super) struct GifReader {
    decoder: Decoder<Cursor<Vec<u8>>>,
    index: GifIndex,
    read: u64,
    /// RGBA, transparent at first.
    screen: Vec<u8>,
    /// What the last frame asked for, done before the next one is drawn.
    disposal: Disposal,
}

enum Disposal {
    Keep,
    Clear(Area),
    /// What was there: of the area alone, since the screen may be far larger.
    Restore(Area, Vec<u8>),
}

/// The part of a frame that is on the screen.
#[derive(Clone, Copy)]
struct Area {
    left: usize,
    top: usize,
    width: usize,
    height: usize,
}

impl GifReader {
    pub(super) fn open(bytes: Vec<u8>, limits: &ReadLimits) -> Result<Self, ReadError> {
        let index = scan(&bytes, limits)?;
        let mut options = DecodeOptions::new();
        options.set_color_output(ColorOutput::RGBA);
        // Four bytes a pixel, and a text about the file that is no longer than it.
        let limit = limits.max_pixels.saturating_mul(4).saturating_add(bytes.len() as u64);
        options.set_memory_limit(
            NonZeroU64::new(limit).map_or(MemoryLimit::Bytes(NonZeroU64::MIN), MemoryLimit::Bytes),
        );
        let decoder = options.read_info(Cursor::new(bytes)).map_err(broken)?;
        let pixels = index.screen.rgb_bytes().map_or(0, |bytes| bytes / 3);
        let screen = vec![0; pixels * 4];
        Ok(Self { decoder, index, read: 0, screen, disposal: Disposal::Keep })
    }

    pub(super) fn frame_size(&self) -> FrameSize {
        self.index.screen
    }

    pub(super) fn frame_count(&self) -> u64 {
        self.index.frames
    }

    pub(super) fn frame_rate(&self) -> Option<f64> {
        Some(self.index.frames as f64 * TICKS / self.index.duration as f64)
    }

    pub(super) fn next_frame(&mut self) -> Result<Option<Picture>, ReadError> {
        if self.read == self.index.frames {
            return Ok(None);
        }
        let screen_width = self.index.screen.width as usize;
        self.dispose(screen_width);
        let frame = self.decoder.read_next_frame().map_err(broken)?;
        let frame = frame.ok_or_else(|| broken("fewer frames than blocks"))?;
        let area = Area::of(frame, self.index.screen);
        self.disposal = match frame.dispose {
            DisposalMethod::Any | DisposalMethod::Keep => Disposal::Keep,
            DisposalMethod::Background => Disposal::Clear(area),
            DisposalMethod::Previous => {
                let mut before = Vec::with_capacity(area.width * area.height * 4);
                for y in 0..area.height {
                    before.extend_from_slice(area.row(&mut self.screen, screen_width, y));
                }
                Disposal::Restore(area, before)
            }
        };
        let frame_row = usize::from(frame.width) * 4;
        for y in 0..area.height {
            let from = &frame.buffer[y * frame_row..][..area.width * 4];
            let to = area.row(&mut self.screen, screen_width, y);
            for (to, from) in to.chunks_exact_mut(4).zip(from.chunks_exact(4)) {
                if from[3] != 0 {
                    to.copy_from_slice(from);
                }
            }
        }
        self.read += 1;
        let (rgb, transparent) = flatten(&self.screen);
        let notes = if transparent { vec![PictureNote::PutOnWhite] } else { Vec::new() };
        Ok(Some(Picture::read(self.index.screen, rgb, notes)))
    }

    /// The background is transparent, as browsers have it, not the colour that the file names.
    fn dispose(&mut self, screen_width: usize) {
        match std::mem::replace(&mut self.disposal, Disposal::Keep) {
            Disposal::Keep => {}
            Disposal::Restore(area, before) => {
                for y in 0..area.height {
                    let row = &before[y * area.width * 4..][..area.width * 4];
                    area.row(&mut self.screen, screen_width, y).copy_from_slice(row);
                }
            }
            Disposal::Clear(area) => {
                for y in 0..area.height {
                    area.row(&mut self.screen, screen_width, y).fill(0);
                }
            }
        }
    }
}

impl Area {
    fn of(frame: &Frame<'_>, screen: FrameSize) -> Self {
        let on_screen = |start: u16, length: u16, side: u32| {
            let start = usize::from(start).min(side as usize);
            (start, usize::from(length).min(side as usize - start))
        };
        let (left, width) = on_screen(frame.left, frame.width, screen.width);
        let (top, height) = on_screen(frame.top, frame.height, screen.height);
        Self { left, top, width, height }
    }

    /// Row `y` of the area, four bytes a pixel.
    fn row<'a>(&self, screen: &'a mut [u8], screen_width: usize, y: usize) -> &'a mut [u8] {
        let start = ((self.top + y) * screen_width + self.left) * 4;
        &mut screen[start..start + self.width * 4]
    }
}

fn broken(found: impl std::fmt::Display) -> ReadError {
    ReadError::content(FORMAT, "whole frames", found)
}
