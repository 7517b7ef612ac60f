//! What a GIF holds, from its blocks alone (GIF89a, sections 17 to 27): no picture is decompressed.

use crate::{FrameSize, ReadError, ReadLimits};

use super::gif::FORMAT;

/// Hundredths of a second for which browsers show a frame whose delay is below 2.
const LEAST_DELAY: u64 = 10;

pub(super) struct GifIndex {
    pub(super) screen: FrameSize,
    pub(super) frames: u64,
    /// Of all frames, in hundredths of a second.
    pub(super) duration: u64,
}

/// Stops beyond the limit of frames. The end marker may be missing, as Pillow and browsers let it, a frame's data may not.
pub(super) fn scan(bytes: &[u8], limits: &ReadLimits) -> Result<GifIndex, ReadError> {
    let mut blocks = Blocks { bytes, at: 6 };
    let screen = limits.check_size(FORMAT, blocks.u16()?.into(), blocks.u16()?.into())?;
    let flags = blocks.u8()?;
    blocks.skip(2)?;
    let has_colours = blocks.skip_colours(flags)?;
    let (mut frames, mut duration, mut delay) = (0, 0, LEAST_DELAY);
    while let Some(introducer) = blocks.next_block() {
        match introducer {
            b'!' if blocks.u8()? == 0xf9 => {
                // Size, flags, delay: what follows is skipped with the rest of the sub-blocks.
                if let Some(&[4, _, low, high]) = bytes.get(blocks.at..blocks.at + 4) {
                    delay = u64::from(u16::from_le_bytes([low, high]));
                    delay = if delay < 2 { LEAST_DELAY } else { delay };
                }
                blocks.skip_data()?;
            }
            b'!' => blocks.skip_data()?,
            b',' => {
                blocks.skip(4)?;
                let (width, height) = (blocks.u16()?, blocks.u16()?);
                limits.check_size(FORMAT, width.into(), height.into())?;
                let flags = blocks.u8()?;
                // Programs make up different ones where there are none.
                if !(blocks.skip_colours(flags)? || has_colours) {
                    let found = format!("none for frame {frames}");
                    return Err(ReadError::content(FORMAT, "a table of colours", found));
                }
                blocks.skip(1)?;
                blocks.skip_data()?;
                frames += 1;
                duration += std::mem::replace(&mut delay, LEAST_DELAY);
                if frames > limits.max_frames {
                    break;
                }
            }
            b';' => break,
            other => {
                let found = format!("a block of type {other:#04x}");
                return Err(ReadError::content(FORMAT, "extensions and images", found));
            }
        }
    }
    limits.check_frames(FORMAT, frames)?;
    Ok(GifIndex { screen, frames, duration })
}

struct Blocks<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Blocks<'_> {
    fn next_block(&mut self) -> Option<u8> {
        self.u8().ok()
    }

    fn u8(&mut self) -> Result<u8, ReadError> {
        let value = self.bytes.get(self.at).copied();
        self.at += 1;
        value.ok_or_else(cut)
    }

    fn u16(&mut self) -> Result<u16, ReadError> {
        Ok(u16::from_le_bytes([self.u8()?, self.u8()?]))
    }

    fn skip(&mut self, bytes: usize) -> Result<(), ReadError> {
        self.at += bytes;
        if self.at <= self.bytes.len() { Ok(()) } else { Err(cut()) }
    }

    /// A table of colours, if `flags` say that there is one; whether there is.
    fn skip_colours(&mut self, flags: u8) -> Result<bool, ReadError> {
        let is_there = flags & 0x80 != 0;
        if is_there {
            self.skip(3 << ((flags & 7) + 1))?;
        }
        Ok(is_there)
    }

    /// Sub-blocks to the empty one that ends them.
    fn skip_data(&mut self) -> Result<(), ReadError> {
        loop {
            match self.u8()? {
                0 => return Ok(()),
                length => self.skip(length.into())?,
            }
        }
    }
}

fn cut() -> ReadError {
    ReadError::content(FORMAT, "a whole file", "its end within a block")
}
