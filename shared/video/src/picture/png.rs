use std::io::Cursor;

use png::{BitDepth, ColorType, Decoder, Limits, Transformations};

use super::{Orientation, Picture, PictureNote, exif, flatten};
use crate::{ReadError, ReadLimits};

const FORMAT: &str = "png";

pub(super) fn read(bytes: &[u8], limits: &ReadLimits) -> Result<(Picture, Orientation), ReadError> {
    check_header(bytes, limits)?;
    // Chunks of text and EXIF data are kept, and are no longer than the file.
    let bytes_limit = limits.max_frame_bytes().saturating_add(bytes.len());
    let mut decoder = Decoder::new_with_limits(Cursor::new(bytes), Limits { bytes: bytes_limit });
    decoder.set_transformations(Transformations::EXPAND);
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let mut reader = decoder.read_info().map_err(broken)?;
    let info = reader.info();
    let size = limits.check_size(FORMAT, info.width, info.height)?;
    // As in Pillow, a picture that only stands in for the animation is its first frame too.
    let is_animation = info.animation_control.is_some_and(|control| control.num_frames > 1);
    let length = reader.output_buffer_size().filter(|length| *length <= limits.max_frame_bytes());
    let length = length.ok_or(ReadError::Size {
        format: FORMAT,
        max_pixels: limits.max_pixels,
        found: size,
    })?;
    let mut buffer = vec![0; length];
    let frame = reader.next_frame(&mut buffer).map_err(broken)?;
    if (frame.width, frame.height) != (size.width, size.height) {
        let found = format!("a frame of {}x{} in {size}", frame.width, frame.height);
        return Err(ReadError::content(FORMAT, "a first frame of the whole size", found));
    }
    // The rest is not needed, but a file without its end is cut.
    if !is_animation {
        reader.finish().map_err(broken)?;
    }
    buffer.truncate(frame.buffer_size());
    let exif = reader.info().exif_metadata.as_deref(); // may stand behind the pixels
    let orientation = exif.map_or(Orientation::AsIs, exif::orientation);

    let mut notes = Vec::new();
    if is_animation {
        notes.push(PictureNote::FirstFrameOnly);
    }
    if frame.bit_depth == BitDepth::Sixteen {
        notes.push(PictureNote::ReducedTo8Bits);
        buffer = buffer.chunks_exact(2).map(|value| reduce([value[0], value[1]])).collect();
    }
    let rgb = match frame.color_type {
        ColorType::Rgb => buffer,
        ColorType::Grayscale => buffer.iter().flat_map(|grey| [*grey; 3]).collect(),
        ColorType::Rgba => on_white(&buffer, &mut notes),
        ColorType::GrayscaleAlpha => {
            let rgba: Vec<u8> =
                buffer.chunks_exact(2).flat_map(|g| [g[0], g[0], g[0], g[1]]).collect();
            on_white(&rgba, &mut notes)
        }
        ColorType::Indexed => {
            return Err(ReadError::content(FORMAT, "colours", "indices of a palette"));
        }
    };
    Ok((Picture::read(size, rgb, notes), orientation))
}

/// The size stands at a fixed place: checked before the decoder sees the file, whose own words for a size of 0 are less plain.
fn check_header(bytes: &[u8], limits: &ReadLimits) -> Result<(), ReadError> {
    let side = |at: usize| {
        let bytes = bytes.get(at..at + 4)?.try_into().ok()?;
        Some(u32::from_be_bytes(bytes))
    };
    match (bytes.get(12..16), side(16), side(20)) {
        (Some(b"IHDR"), Some(width), Some(height)) => {
            limits.check_size(FORMAT, width, height).map(drop)
        }
        _ => Err(ReadError::content(FORMAT, "a whole picture", "no whole header")),
    }
}

fn on_white(rgba: &[u8], notes: &mut Vec<PictureNote>) -> Vec<u8> {
    let (rgb, transparent) = flatten(rgba);
    if transparent {
        notes.push(PictureNote::PutOnWhite);
    }
    rgb
}

/// The nearest of 8 bits (PNG, 13.12).
fn reduce(value: [u8; 2]) -> u8 {
    ((u32::from(u16::from_be_bytes(value)) * 255 + 32_767) / 65_535) as u8
}

fn broken(error: png::DecodingError) -> ReadError {
    ReadError::content(FORMAT, "a whole picture", error)
}
