use crate::gif::{self, GifEncoder};
use crate::mp4::{self, Mp4Encoder};
use crate::{FrameSize, VideoError};

/// Files that hold a whole clip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VideoFormat {
    /// H.264 (constrained baseline, 4:2:0, BT.709 limited range) in an MP4 file whose index comes first.
    ///
    /// Both sides even, from 16 to 3840 pixels, the shorter one at most 2160; 1 to 60 frames per second.
    Mp4,
    /// An animated GIF that repeats for ever, each frame with its own 256 colours.
    ///
    /// Sides from 1 to 3840 pixels; 1 to 50 frames per second.
    Gif,
}

impl VideoFormat {
    /// Passes frames that this format can hold.
    ///
    /// # Errors
    /// [`VideoError::FrameSize`] with the sizes it can have.
    pub fn check_size(self, size: FrameSize) -> Result<(), VideoError> {
        match self {
            Self::Mp4 => mp4::check_size(size),
            Self::Gif => gif::check_size(size),
        }
    }

    /// The most frames per second that this format can have; the least is 1.
    pub fn max_fps(self) -> u32 {
        match self {
            Self::Mp4 => mp4::MAX_FPS,
            Self::Gif => gif::MAX_FPS,
        }
    }
}

/// Encodes a clip as its frames come.
///
/// Held between calls: the compressed frames so far, the codec's own state (a few frames of the given size) and one
/// frame's planes. [`VideoEncoder::finish`] needs the compressed clip a second time for a moment.
pub struct VideoEncoder {
    container: Container,
    size: FrameSize,
    pushed: usize,
}

enum Container {
    Mp4(Box<Mp4Encoder>),
    Gif(GifEncoder),
}

impl VideoEncoder {
    /// An encoder for frames of `size`, shown `fps` times a second.
    ///
    /// # Errors
    /// [`VideoError::FrameSize`] and [`VideoError::FrameRate`] for what `format` (see [`VideoFormat`]) cannot hold.
    pub fn new(format: VideoFormat, size: FrameSize, fps: u32) -> Result<Self, VideoError> {
        let container = match format {
            VideoFormat::Mp4 => Container::Mp4(Box::new(Mp4Encoder::new(size, fps)?)),
            VideoFormat::Gif => Container::Gif(GifEncoder::new(size, fps)?),
        };
        Ok(Self { container, size, pushed: 0 })
    }

    /// Puts a text into an MP4 file, which [`crate::read_metadata`] finds again; at most 1 MiB, a longer one is left out. A
    /// GIF has no place for it.
    #[must_use]
    pub fn with_metadata(mut self, text: String) -> Self {
        if let Container::Mp4(mp4) = &mut self.container {
            mp4.describe(text);
        }
        self
    }

    /// Adds the next frame: `width * height * 3` bytes.
    ///
    /// # Errors
    /// [`VideoError::FrameBytes`] if `rgb` has another length (the encoder is as before), or what the codec says.
    pub fn push(&mut self, rgb: &[u8]) -> Result<(), VideoError> {
        self.size.check_frame(self.pushed, rgb)?;
        match &mut self.container {
            Container::Mp4(mp4) => mp4.push(self.pushed, rgb)?,
            Container::Gif(gif) => gif.push(self.pushed, rgb)?,
        }
        self.pushed += 1;
        Ok(())
    }

    /// The whole file.
    ///
    /// # Errors
    /// [`VideoError::NoFrames`] if none was pushed.
    pub fn finish(self) -> Result<Vec<u8>, VideoError> {
        if self.pushed == 0 {
            return Err(VideoError::NoFrames);
        }
        match self.container {
            Container::Mp4(mp4) => mp4.finish(),
            Container::Gif(gif) => gif.finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoders_can_move_to_the_thread_that_encodes() {
        fn is_send<T: Send>() {}
        is_send::<VideoEncoder>();
        is_send::<VideoError>();
    }
}
