//! What a sequence parameter set says (ITU-T H.264, 7.3.2.1.1 and E.1.1), read before the decoder sees it.

use super::FORMAT;
use super::colour::Colours;
use crate::{FrameSize, ReadError, ReadLimits};

/// Every level's bound on reference frames (A.3.1).
const MAX_REFERENCE_FRAMES: u32 = 16;
const EXTENDED_SHAPE: u32 = 255;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct SequenceSet {
    /// Without what is cropped.
    pub(super) size: FrameSize,
    pub(super) colours: Colours,
}

impl SequenceSet {
    /// From the unit with its header byte.
    pub(super) fn read(unit: &[u8], limits: &ReadLimits) -> Result<Self, ReadError> {
        let bytes = without_emulation_prevention(unit.get(1..).unwrap_or_default());
        let mut bits = Bits { bytes: &bytes, at: 0 };
        let profile = bits.take(8)?;
        bits.take(16)?; // constraints, level
        bits.golomb()?; // its number
        if matches!(
            profile,
            44 | 83 | 86 | 100 | 110 | 118 | 122 | 128 | 134 | 135 | 138 | 139 | 244
        ) {
            let chroma = bits.golomb()?;
            if chroma != 1 {
                let names = ["no colours (4:0:0)", "4:2:0", "4:2:2", "4:4:4"];
                let found = names.get(chroma as usize).copied().unwrap_or("an unknown layout");
                return Err(ReadError::content(FORMAT, "H.264 with colours in 4:2:0", found));
            }
            let depths = [bits.golomb()?, bits.golomb()?].map(|depth| depth.saturating_add(8));
            if depths != [8, 8] {
                let found = format!("{} and {}", depths[0], depths[1]);
                return Err(ReadError::content(FORMAT, "H.264 of 8 bits", found));
            }
            bits.take(1)?;
            if bits.flag()? {
                for index in 0..8 {
                    if bits.flag()? {
                        bits.skip_scaling_list(if index < 6 { 16 } else { 64 })?;
                    }
                }
            }
        }
        bits.golomb()?; // bits of frame_num
        match bits.golomb()? {
            0 => drop(bits.golomb()?),
            1 => {
                bits.take(1)?;
                bits.golomb()?;
                bits.golomb()?;
                for _ in 0..bits.golomb()?.min(256) {
                    bits.golomb()?;
                }
            }
            _ => {}
        }
        let references = bits.golomb()?;
        if references > MAX_REFERENCE_FRAMES {
            return Err(ReadError::content(
                FORMAT,
                "H.264 of at most 16 reference frames",
                references,
            ));
        }
        bits.take(1)?;
        let blocks = [bits.golomb()?, bits.golomb()?].map(|blocks| blocks.saturating_add(1));
        let [width, height] = blocks.map(|blocks| blocks.saturating_mul(16));
        if !bits.flag()? {
            return Err(ReadError::content(FORMAT, "progressive H.264", "interlaced fields"));
        }
        limits.check_size(FORMAT, width, height)?;
        bits.take(1)?;
        let mut size = FrameSize { width, height };
        if bits.flag()? {
            let [left, right, top, bottom] =
                [bits.golomb()?, bits.golomb()?, bits.golomb()?, bits.golomb()?];
            let kept = |side: u32, from: u32, to: u32| {
                let cropped = u64::from(from).saturating_add(to.into()).saturating_mul(2);
                u32::try_from(u64::from(side).saturating_sub(cropped)).unwrap_or(0)
            };
            size = FrameSize { width: kept(width, left, right), height: kept(height, top, bottom) };
            limits.check_size(FORMAT, size.width, size.height)?;
        }
        // A broken description of how to show the stream does not keep it from being decoded.
        let colours = bits.colours().unwrap_or_default();
        Ok(Self { size, colours })
    }
}

/// A byte 3 after two zeros only keeps start codes from appearing (7.4.1).
fn without_emulation_prevention(unit: &[u8]) -> Vec<u8> {
    let mut zeros = 0;
    let keep = |byte: &&u8| {
        let prevention = zeros >= 2 && **byte == 3;
        zeros = if **byte == 0 { zeros + 1 } else { 0 };
        !prevention
    };
    unit.iter().filter(keep).copied().collect()
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    /// At most 32.
    fn take(&mut self, count: u32) -> Result<u32, ReadError> {
        (0..count).try_fold(0, |value, _| {
            let byte = self.bytes.get(self.at / 8);
            let byte = byte.ok_or_else(|| {
                ReadError::content(FORMAT, "a whole sequence parameter set", "its end too soon")
            })?;
            let bit = byte >> (7 - self.at % 8) & 1;
            self.at += 1;
            Ok(value << 1 | u32::from(bit))
        })
    }

    fn flag(&mut self) -> Result<bool, ReadError> {
        Ok(self.take(1)? == 1)
    }

    /// An Exp-Golomb code (9.1).
    fn golomb(&mut self) -> Result<u32, ReadError> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
            if zeros == 32 {
                let found = "a number of over 32 bits";
                return Err(ReadError::content(FORMAT, "a whole sequence parameter set", found));
            }
        }
        Ok((1 << zeros) - 1 + self.take(zeros)?)
    }

    /// A signed one (9.1.1).
    fn signed_golomb(&mut self) -> Result<i32, ReadError> {
        let code = self.golomb()?;
        let magnitude = (code / 2 + code % 2) as i32;
        Ok(if code % 2 == 1 { magnitude } else { -magnitude })
    }

    /// 7.3.2.1.1.1.
    fn skip_scaling_list(&mut self, length: usize) -> Result<(), ReadError> {
        let (mut last, mut next) = (8i32, 8i32);
        for _ in 0..length {
            if next != 0 {
                next = last.wrapping_add(self.signed_golomb()?).rem_euclid(256);
            }
            last = if next == 0 { last } else { next };
        }
        Ok(())
    }

    /// The start of the usability information.
    fn colours(&mut self) -> Result<Colours, ReadError> {
        let mut colours = Colours::default();
        if !self.flag()? {
            return Ok(colours);
        }
        if self.flag()? && self.take(8)? == EXTENDED_SHAPE {
            self.take(32)?;
        }
        if self.flag()? {
            self.take(1)?; // overscan
        }
        if self.flag()? {
            self.take(3)?; // where the video comes from
            colours.full_range = Some(self.flag()?);
            if self.flag()? {
                self.take(16)?; // primaries, transfer
                colours.matrix = Some(self.take(8)?);
            }
        }
        Ok(colours)
    }
}
