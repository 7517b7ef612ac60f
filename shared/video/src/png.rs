use crate::{FrameSize, VideoError};

/// One frame as a PNG file: 8-bit RGB, marked as sRGB.
///
/// `rgb` has `width * height * 3` bytes.
///
/// # Errors
/// [`VideoError::FrameSize`] if a side is 0 or over 3840 pixels; [`VideoError::FrameBytes`] if `rgb` has another length.
pub fn encode_png(size: FrameSize, rgb: &[u8]) -> Result<Vec<u8>, VideoError> {
    check_png_size(size)?;
    size.check_frame(0, rgb)?;
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, size.width, size.height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_source_srgb(png::SrgbRenderingIntent::Perceptual);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(rgb)?;
    writer.finish()?;
    Ok(file)
}

/// Passes frames that [`encode_png`] takes.
///
/// # Errors
/// [`VideoError::FrameSize`] if a side is 0 or over 3840 pixels.
pub fn check_png_size(size: FrameSize) -> Result<(), VideoError> {
    size.check_sides("png")
}
