use crate::FrameSize;

/// Why a clip or an image cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VideoError {
    /// The format has no frames of this size.
    #[error("{format} cannot have frames of {found} pixels: expected {expected}")]
    FrameSize {
        /// MP4, GIF or PNG.
        format: &'static str,
        /// The sizes it can have.
        expected: &'static str,
        /// What was asked for.
        found: FrameSize,
    },
    /// The format cannot play at this rate.
    #[error("{format} cannot have {found} frames per second: expected 1 to {max}")]
    FrameRate {
        /// MP4 or GIF.
        format: &'static str,
        /// The highest rate it can have.
        max: u32,
        /// What was asked for.
        found: u32,
    },
    /// A frame of another length than the clip's size calls for.
    #[error("frame {frame} has {found} bytes: expected {expected} for {size} pixels")]
    FrameBytes {
        /// Index of the frame in the clip.
        frame: usize,
        /// The size of the clip's frames.
        size: FrameSize,
        /// Width times height times 3.
        expected: usize,
        /// Bytes given.
        found: usize,
    },
    /// A clip without frames.
    #[error("the clip has 0 frames: expected at least 1")]
    NoFrames,
    /// The H.264 encoder failed.
    #[error("h.264 encoding of frame {frame} failed")]
    H264 {
        /// Index of the frame in the clip.
        frame: usize,
        /// What OpenH264 said.
        source: openh264::Error,
    },
    /// The H.264 encoder gave something that an MP4 file cannot hold.
    #[error("h.264 encoding of frame {frame} gave {found}: expected {expected}")]
    H264Stream {
        /// Index of the frame in the clip.
        frame: usize,
        /// What every frame must have.
        expected: &'static str,
        /// What this one has.
        found: &'static str,
    },
    /// The MP4 file could not be put together.
    #[error("writing the mp4 file failed: {0}")]
    Mp4(String),
    /// The GIF file could not be put together.
    #[error("writing the gif file failed")]
    Gif(#[from] gif::EncodingError),
    /// The PNG file could not be put together.
    #[error("writing the png file failed")]
    Png(#[from] png::EncodingError),
}

// Shown at once: these types' own `Debug` and `Display` are the same sentence, with the place in their source.
impl From<shiguredo_mp4::mux::MuxError> for VideoError {
    fn from(error: shiguredo_mp4::mux::MuxError) -> Self {
        Self::Mp4(error.to_string())
    }
}

impl From<shiguredo_mp4::Error> for VideoError {
    fn from(error: shiguredo_mp4::Error) -> Self {
        Self::Mp4(error.to_string())
    }
}
