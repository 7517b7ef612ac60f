use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use super::{Orientation, Picture, exif};
use crate::{ReadError, ReadLimits};

const FORMAT: &str = "jpeg";
/// A scan of a progressive picture goes over all of it; encoders make ten or so.
const MAX_SCANS: usize = 100;

pub(super) fn read(bytes: &[u8], limits: &ReadLimits) -> Result<(Picture, Orientation), ReadError> {
    check_end(bytes)?;
    let options = DecoderOptions::default()
        .set_strict_mode(false) // cameras leave bytes between headers
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX))
        .jpeg_set_max_scans(MAX_SCANS)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(broken)?;
    let info = decoder.info().ok_or_else(|| broken("no size"))?;
    let size = limits.check_size(FORMAT, info.width.into(), info.height.into())?;
    let orientation = decoder.exif().map_or(Orientation::AsIs, |data| exif::orientation(data));
    let rgb = decoder.decode().map_err(broken)?;
    if size.rgb_bytes() != Some(rgb.len()) {
        return Err(broken(format!("{} bytes for {size} pixels", rgb.len())));
    }
    Ok((Picture::read(size, rgb, Vec::new()), orientation))
}

/// That the marker of the end follows the first scan: decoders fill up what is missing, which nobody asked for.
///
/// Within a scan no marker's code appears (ITU-T T.81, B.1.1.5), and the tables between scans are short.
fn check_end(bytes: &[u8]) -> Result<(), ReadError> {
    const SCAN: u8 = 0xda;
    const END: u8 = 0xd9;
    let mut at = 2;
    loop {
        let Some(&[0xff, marker, ref rest @ ..]) = bytes.get(at..) else {
            return Err(broken("no scan"));
        };
        match (marker, rest) {
            (0xff, _) => at += 1,
            (SCAN, scan) if scan.windows(2).any(|pair| pair == [0xff, END]) => return Ok(()),
            (SCAN, _) => return Err(broken("no end")),
            (0x01 | 0xd0..=0xd8, _) => at += 2,
            (_, &[high, low, ..]) => at += 2 + usize::from(u16::from_be_bytes([high, low])),
            _ => return Err(broken("no scan")),
        }
    }
}

fn broken(found: impl std::fmt::Display) -> ReadError {
    ReadError::content(FORMAT, "a whole picture", found)
}
