use std::io::Cursor;

use image_webp::WebPDecoder;

use super::{Orientation, Picture, PictureNote, exif, flatten};
use crate::{ReadError, ReadLimits};

const FORMAT: &str = "webp";

pub(super) fn read(bytes: &[u8], limits: &ReadLimits) -> Result<(Picture, Orientation), ReadError> {
    let bytes = whole(bytes)?;
    check_frames(bytes, limits)?;
    let mut decoder = WebPDecoder::new(Cursor::new(bytes)).map_err(broken)?;
    decoder.set_memory_limit(bytes.len());
    let (width, height) = decoder.dimensions();
    let size = limits.check_size(FORMAT, width, height)?;
    let exif = decoder.exif_metadata().map_err(broken)?;
    let orientation = exif.as_deref().map_or(Orientation::AsIs, exif::orientation);
    let length = decoder.output_buffer_size().ok_or_else(|| broken("no size"))?;
    let mut buffer = vec![0; length];
    decoder.read_image(&mut buffer).map_err(broken)?;

    let mut notes = Vec::new();
    if decoder.is_animated() && decoder.num_frames() > 1 {
        notes.push(PictureNote::FirstFrameOnly);
    }
    if decoder.has_alpha() {
        let (rgb, transparent) = flatten(&buffer);
        buffer = rgb;
        if transparent {
            notes.push(PictureNote::PutOnWhite);
        }
    }
    Ok((Picture::read(size, buffer, notes), orientation))
}

/// Up to the end that the file states: what follows is not looked at.
fn whole(bytes: &[u8]) -> Result<&[u8], ReadError> {
    let size = bytes.get(4..8).and_then(|size| size.try_into().ok()).map_or(0, u32::from_le_bytes);
    let end = (size as usize).saturating_add(8);
    bytes.get(..end).ok_or_else(|| broken(format!("{} of {end} bytes", bytes.len())))
}

/// Sizes of all frames, each in its own header: the decoder takes memory for a lossy one before it compares it with the
/// picture's. Chunks are walked as RFC 9649, section 2, lays them out.
fn check_frames(bytes: &[u8], limits: &ReadLimits) -> Result<(), ReadError> {
    /// From the start of a frame's chunk in an animation to the chunks in it.
    const FRAME_HEADER: usize = 16;
    let mut at = 12;
    while let Some(&[a, b, c, d, s0, s1, s2, s3, ref data @ ..]) = bytes.get(at..) {
        let length = u32::from_le_bytes([s0, s1, s2, s3]) as usize;
        match (&[a, b, c, d], data) {
            (b"ANMF", _) => {
                at += 8 + FRAME_HEADER;
                continue;
            }
            (b"VP8 ", [_, _, _, 0x9d, 0x01, 0x2a, w0, w1, h0, h1, ..]) => {
                let side = |low: u8, high: u8| u32::from(u16::from_le_bytes([low, high]) & 0x3fff);
                limits.check_size(FORMAT, side(*w0, *w1), side(*h0, *h1))?;
            }
            _ => {}
        }
        if length > data.len() {
            return Err(broken(format!("a chunk of {length} bytes where {} are left", data.len())));
        }
        at = at.saturating_add(8 + length + length % 2);
    }
    Ok(())
}

fn broken(found: impl std::fmt::Display) -> ReadError {
    ReadError::content(FORMAT, "a whole picture", found)
}
