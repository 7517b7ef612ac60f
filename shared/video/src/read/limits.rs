use super::ReadError;
use crate::FrameSize;

/// How much of a file that somebody sent is believed. Each is checked before memory is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadLimits {
    /// Bytes of the file.
    pub max_bytes: usize,
    /// Pixels of a picture or of one frame, width times height; neither may be more than 65,535.
    ///
    /// Reading a picture takes at most 16 bytes for each, beside the file itself and codecs' tables (a lossy WebP's up to 16
    /// MiB). A video takes 60, most of them for the 16 frames that H.264 may keep for reference; OpenH264 stops at level 5.2,
    /// 9.4 million pixels.
    pub max_pixels: u64,
    /// Frames of a video, whether they are read or not.
    pub max_frames: u64,
}

impl Default for ReadLimits {
    /// 256 MiB, 50 million pixels (what phones' cameras have), 10,000 frames.
    fn default() -> Self {
        Self { max_bytes: 256 << 20, max_pixels: 50_000_000, max_frames: 10_000 }
    }
}

/// The longest side: JPEG's, and GIF's. Filtering takes memory and time by the side, not by the pixels.
pub(super) const MAX_SIDE: u32 = 65_535;

impl ReadLimits {
    pub(crate) fn check_bytes(&self, bytes: &[u8]) -> Result<(), ReadError> {
        if bytes.len() <= self.max_bytes {
            Ok(())
        } else {
            Err(ReadError::Bytes { max: self.max_bytes, found: bytes.len() })
        }
    }

    /// That a size which a file's header gives has pixels, and not too many.
    pub(crate) fn check_size(
        &self,
        format: &'static str,
        width: u32,
        height: u32,
    ) -> Result<FrameSize, ReadError> {
        let found = FrameSize { width, height };
        let pixels = u64::from(width) * u64::from(height);
        let sides = width <= MAX_SIDE && height <= MAX_SIDE;
        if sides && (1..=self.max_pixels).contains(&pixels) && found.rgb_bytes().is_some() {
            Ok(found)
        } else {
            Err(ReadError::Size { format, max_pixels: self.max_pixels, found })
        }
    }

    pub(crate) fn check_frames(&self, format: &'static str, found: u64) -> Result<(), ReadError> {
        if (1..=self.max_frames).contains(&found) {
            Ok(())
        } else {
            Err(ReadError::Frames { format, max: self.max_frames, found })
        }
    }

    /// Bytes of a frame's largest form: four channels of 16 bits.
    pub(crate) fn max_frame_bytes(&self) -> usize {
        usize::try_from(self.max_pixels.saturating_mul(8)).unwrap_or(usize::MAX)
    }
}
