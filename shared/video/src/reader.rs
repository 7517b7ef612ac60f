mod gif;
mod gif_blocks;
mod mp4;

use crate::read::{FileKind, kind_of};
use crate::{FrameSize, Picture, ReadError, ReadLimits};
use gif::GifReader;
use mp4::Mp4Reader;

/// Reads a video frame by frame, in the order in which it is shown.
///
/// Held between calls: the file, its index, and the codec's own state (GIF: the screen, at times twice; H.264: what it keeps
/// for reference, at most 16 frames).
pub struct VideoReader {
    source: Source,
    frame_size: FrameSize,
    failed: bool,
}

enum Source {
    Mp4(Box<Mp4Reader>),
    Gif(Box<GifReader>),
}

impl VideoReader {
    /// Opens an MP4 file with H.264 (progressive, 8-bit 4:2:0) or a GIF, by its content. No frame is decoded yet.
    ///
    /// MP4: the first video track; frames are turned as its matrix says by quarters, edit lists and the shape of pixels are
    /// passed over, and colours are the stream's own (its header's, else the file's `colr`, else BT.601 below 720 rows
    /// and BT.709 from there on, in limited range). GIF: each frame is the whole screen as browsers show it, on white; what
    /// lies outside the screen is cut off.
    ///
    /// # Errors
    /// [`ReadError`] for any other file, another codec (with its name), an index that does not fit the file, and one over
    /// `limits`.
    pub fn open(bytes: impl Into<Vec<u8>>, limits: &ReadLimits) -> Result<Self, ReadError> {
        let bytes = bytes.into();
        limits.check_bytes(&bytes)?;
        match kind_of(&bytes) {
            FileKind::Mp4 => {
                let reader = Mp4Reader::open(bytes, limits)?;
                let frame_size = reader.frame_size();
                Ok(Self { source: Source::Mp4(Box::new(reader)), frame_size, failed: false })
            }
            FileKind::Gif => {
                let reader = GifReader::open(bytes, limits)?;
                let frame_size = reader.frame_size();
                Ok(Self { source: Source::Gif(Box::new(reader)), frame_size, failed: false })
            }
            other => {
                let expected = "an MP4 video or a GIF";
                Err(ReadError::Kind { expected, found: other.to_string() })
            }
        }
    }

    /// The size of every frame.
    pub fn frame_size(&self) -> FrameSize {
        self.frame_size
    }

    /// How many frames there are, read or not, by the file's index.
    pub fn frame_count(&self) -> u64 {
        match &self.source {
            Source::Mp4(mp4) => mp4.frame_count(),
            Source::Gif(gif) => gif.frame_count(),
        }
    }

    /// Frames per second, on average; none where the file has no times.
    pub fn frame_rate(&self) -> Option<f64> {
        match &self.source {
            Source::Mp4(mp4) => mp4.frame_rate(),
            Source::Gif(gif) => gif.frame_rate(),
        }
    }

    /// The next frame; none after [`VideoReader::frame_count`] of them, or after an error: what follows hangs on what failed.
    ///
    /// # Errors
    /// [`ReadError`] for a frame that cannot be decoded or has another size.
    pub fn next_frame(&mut self) -> Result<Option<Picture>, ReadError> {
        if self.failed {
            return Ok(None);
        }
        let frame = match &mut self.source {
            Source::Mp4(mp4) => mp4.next_frame(),
            Source::Gif(gif) => gif.next_frame(),
        };
        self.failed = frame.is_err();
        frame
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_can_move_to_the_thread_that_decodes() {
        fn is_send<T: Send>() {}
        is_send::<VideoReader>();
        is_send::<Picture>();
        is_send::<ReadError>();
    }
}
