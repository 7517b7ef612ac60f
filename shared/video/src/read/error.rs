use super::limits::MAX_SIDE;
use crate::FrameSize;

/// Why a picture or a video cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// A file of another kind.
    #[error("expected {expected}, found {found}")]
    Kind {
        /// The kinds that are read.
        expected: &'static str,
        /// What its first bytes say.
        found: String,
    },
    /// A file over [`crate::ReadLimits::max_bytes`].
    #[error("expected at most {max} bytes, found {found}")]
    Bytes {
        /// The limit.
        max: usize,
        /// Bytes given.
        found: usize,
    },
    /// Frames without pixels, over [`crate::ReadLimits::max_pixels`], or with a side that is longer than any format's.
    #[error(
        "{format}: expected 1 to {max_pixels} pixels and sides of at most {MAX_SIDE}, found {found}"
    )]
    Size {
        /// The file's format.
        format: &'static str,
        /// The limit.
        max_pixels: u64,
        /// What the file's header says.
        found: FrameSize,
    },
    /// A video without frames, or over [`crate::ReadLimits::max_frames`].
    #[error("{format}: expected 1 to {max} frames, found {found}")]
    Frames {
        /// The file's format.
        format: &'static str,
        /// The limit.
        max: u64,
        /// Frames that the file says it has; counting stops beyond the limit.
        found: u64,
    },
    /// A frame of another size than the first one's.
    #[error("frame {frame}: expected {expected} pixels as in the first one, found {found}")]
    FrameSize {
        /// Index of the frame in the video.
        frame: u64,
        /// The first frame's.
        expected: FrameSize,
        /// This one's.
        found: FrameSize,
    },
    /// A file that is cut or damaged, or has what is not read.
    #[error("{format}: expected {expected}, found {found}")]
    Content {
        /// The file's format.
        format: &'static str,
        /// What such a file must have.
        expected: &'static str,
        /// What this one has.
        found: String,
    },
}

impl ReadError {
    pub(crate) fn content(
        format: &'static str,
        expected: &'static str,
        found: impl std::fmt::Display,
    ) -> Self {
        Self::Content { format, expected, found: found.to_string() }
    }
}
