mod alpha;
mod exif;
mod jpeg;
mod orientation;
mod png;
mod resize;
mod webp;

use std::fmt;

pub(crate) use alpha::flatten;
pub(crate) use orientation::Orientation;

use crate::read::{FileKind, kind_of};
use crate::{FrameSize, ReadError, ReadLimits, VideoError};

/// One picture: `height` rows of `width` pixels, red, green and blue, sRGB, without padding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    size: FrameSize,
    rgb: Vec<u8>,
    notes: Vec<PictureNote>,
}

/// What a picture lost when it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PictureNote {
    /// Some pixels were transparent, wholly or in part.
    PutOnWhite,
    /// The file is an animation.
    FirstFrameOnly,
    /// The file has 16 bits a channel.
    ReducedTo8Bits,
}

impl fmt::Display for PictureNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PutOnWhite => "transparent pixels were put on white",
            Self::FirstFrameOnly => "only the first frame of an animation was taken",
            Self::ReducedTo8Bits => "16 bits a channel were reduced to 8",
        })
    }
}

/// Reads a PNG, JPEG or WebP picture, by its content.
///
/// Grey, palettes, CMYK (JPEG), 16 bits and interlacing become 8-bit RGB; the picture is turned as its EXIF data say;
/// transparent pixels are put on white; of an animation the first frame is taken. The picture's [`Picture::notes`] say what
/// was lost. Colour profiles are not applied, as in Pillow.
///
/// # Errors
/// [`ReadError`] for any other file, one that is cut or damaged, and one over `limits`.
pub fn read_picture(bytes: &[u8], limits: &ReadLimits) -> Result<Picture, ReadError> {
    limits.check_bytes(bytes)?;
    let (picture, orientation) = match kind_of(bytes) {
        FileKind::Png => png::read(bytes, limits)?,
        FileKind::Jpeg => jpeg::read(bytes, limits)?,
        FileKind::WebP => webp::read(bytes, limits)?,
        other => {
            let expected = "a PNG, JPEG or WebP picture";
            return Err(ReadError::Kind { expected, found: other.to_string() });
        }
    };
    Ok(picture.oriented(orientation))
}

impl Picture {
    /// A picture of `width * height * 3` bytes.
    ///
    /// # Errors
    /// [`VideoError::FrameBytes`] if `rgb` has another length.
    pub fn new(size: FrameSize, rgb: Vec<u8>) -> Result<Self, VideoError> {
        size.check_frame(0, &rgb)?;
        Ok(Self { size, rgb, notes: Vec::new() })
    }

    /// Of what a reader here made.
    pub(crate) fn read(size: FrameSize, rgb: Vec<u8>, notes: Vec<PictureNote>) -> Self {
        debug_assert_eq!(size.rgb_bytes(), Some(rgb.len()));
        Self { size, rgb, notes }
    }

    /// Width and height in pixels.
    pub fn size(&self) -> FrameSize {
        self.size
    }

    /// `width * height * 3` bytes.
    pub fn rgb(&self) -> &[u8] {
        &self.rgb
    }

    /// The bytes of [`Picture::rgb`].
    pub fn into_rgb(self) -> Vec<u8> {
        self.rgb
    }

    /// What was lost when the picture was read, each once.
    pub fn notes(&self) -> &[PictureNote] {
        &self.notes
    }

    /// The picture in another size, byte for byte what `Image.resize(size, Image.LANCZOS)` of Pillow 13.0 makes of 8-bit RGB.
    ///
    /// A side of 0 gives no pixels.
    pub fn resized(&self, size: FrameSize) -> Self {
        let rgb = resize::lanczos(&self.rgb, self.size, size);
        Self { size, rgb, notes: self.notes.clone() }
    }

    pub(crate) fn oriented(self, orientation: Orientation) -> Self {
        if orientation == Orientation::AsIs {
            return self;
        }
        let (size, rgb) = orientation.apply(self.size, &self.rgb);
        Self { size, rgb, notes: self.notes }
    }
}
