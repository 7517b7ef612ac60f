mod bt709;
mod container;
mod h264;
mod metadata;

use crate::frame::{MAX_SIDE, check_frame_rate};
use crate::{FrameSize, VideoError};
use bt709::Planes;
use container::Container;
use h264::H264Encoder;
pub use metadata::{MetadataError, read_metadata};

/// Few screens show more.
pub(crate) const MAX_FPS: u32 = 60;

/// The smallest side that OpenH264 takes: one macroblock.
const MIN_SIDE: u32 = 16;

/// The longest that the shorter side may be, by OpenH264's own limit.
const MAX_SHORT_SIDE: u32 = 2160;

/// RGB frames to an MP4 file: colour conversion, compression, container.
pub(crate) struct Mp4Encoder {
    planes: Planes,
    h264: H264Encoder,
    container: Container,
    metadata: Option<String>,
}

impl Mp4Encoder {
    pub(crate) fn new(size: FrameSize, fps: u32) -> Result<Self, VideoError> {
        let FrameSize { width, height } = size;
        check_size(size)?;
        check_frame_rate("mp4", fps, MAX_FPS)?;
        Ok(Self {
            planes: Planes::new(width as usize, height as usize),
            h264: H264Encoder::new(size, fps)?,
            container: Container::new(fps),
            metadata: None,
        })
    }

    /// Puts a text into the file.
    pub(crate) fn describe(&mut self, metadata: String) {
        self.metadata = Some(metadata);
    }

    /// `rgb` has the clip's size; `frame` counts from 0.
    pub(crate) fn push(&mut self, frame: usize, rgb: &[u8]) -> Result<(), VideoError> {
        self.planes.convert(rgb);
        let picture = self.h264.encode(frame, &self.planes)?;
        self.container.push(frame, picture)
    }

    pub(crate) fn finish(self) -> Result<Vec<u8>, VideoError> {
        drop((self.planes, self.h264));
        let mut file = self.container.finish()?;
        if let Some(metadata) = &self.metadata {
            file.extend(metadata::metadata_box(metadata));
        }
        Ok(file)
    }
}

/// That an MP4 file can have frames of this size.
pub(crate) fn check_size(size: FrameSize) -> Result<(), VideoError> {
    let FrameSize { width, height } = size;
    let even = width % 2 == 0 && height % 2 == 0;
    let (shorter, longer) = (width.min(height), width.max(height));
    if even && longer <= MAX_SIDE && (MIN_SIDE..=MAX_SHORT_SIDE).contains(&shorter) {
        return Ok(());
    }
    let expected = "even sides from 16 to 3840, the shorter one at most 2160";
    Err(VideoError::FrameSize { format: "mp4", expected, found: size })
}
