use std::fmt;

use crate::VideoError;

/// Width and height of every frame of a clip, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FrameSize {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

/// The longest side that any format here takes: OpenH264's own limit, and few players go beyond it.
pub(crate) const MAX_SIDE: u32 = 3840;

impl FrameSize {
    /// Bytes of one frame; none if that does not fit the address space.
    pub(crate) fn rgb_bytes(self) -> Option<usize> {
        usize::try_from(self.width)
            .ok()?
            .checked_mul(usize::try_from(self.height).ok()?)?
            .checked_mul(3)
    }

    /// That `rgb` is one frame of this size; `frame` is its index in the clip.
    pub(crate) fn check_frame(self, frame: usize, rgb: &[u8]) -> Result<(), VideoError> {
        match self.rgb_bytes() {
            Some(expected) if expected == rgb.len() => Ok(()),
            expected => Err(VideoError::FrameBytes {
                frame,
                size: self,
                expected: expected.unwrap_or(usize::MAX),
                found: rgb.len(),
            }),
        }
    }

    /// That neither side is zero or over [`MAX_SIDE`].
    pub(crate) fn check_sides(self, format: &'static str) -> Result<(), VideoError> {
        let sides = 1..=MAX_SIDE;
        if sides.contains(&self.width) && sides.contains(&self.height) {
            Ok(())
        } else {
            Err(VideoError::FrameSize { format, expected: "sides from 1 to 3840", found: self })
        }
    }
}

impl fmt::Display for FrameSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

/// That `fps` is from 1 to `max`.
pub(crate) fn check_frame_rate(format: &'static str, fps: u32, max: u32) -> Result<(), VideoError> {
    if (1..=max).contains(&fps) {
        Ok(())
    } else {
        Err(VideoError::FrameRate { format, max, found: fps })
    }
}
