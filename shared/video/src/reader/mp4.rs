mod boxes;
mod colour;
mod index;
mod parameter_set;
mod samples;
mod stream;

use crate::{FrameSize, Picture, ReadError, ReadLimits};
use index::Index;
use stream::Stream;

const FORMAT: &str = "mp4";

/// The frames of an MP4 file's first video track.
pub(super) struct Mp4Reader {
    file: Vec<u8>,
    index: Index,
    stream: Stream,
    /// Samples that went into the decoder.
    fed: u32,
    /// Frames that came out of it.
    given: u32,
}

impl Mp4Reader {
    pub(super) fn open(file: Vec<u8>, limits: &ReadLimits) -> Result<Self, ReadError> {
        let index = Index::read(&file, limits)?;
        let first = index.samples.data(&file, 0)?;
        let stream = Stream::open(&index.config, first, limits)?;
        Ok(Self { file, index, stream, fed: 0, given: 0 })
    }

    pub(super) fn frame_size(&self) -> FrameSize {
        self.index.orientation.shown(self.stream.size())
    }

    pub(super) fn frame_count(&self) -> u64 {
        self.index.samples.count().into()
    }

    pub(super) fn frame_rate(&self) -> Option<f64> {
        self.index.samples.rate(self.index.timescale)
    }

    /// A sample gives one frame, though a later one where frames are shown in another order than they are stored.
    pub(super) fn next_frame(&mut self) -> Result<Option<Picture>, ReadError> {
        let count = self.index.samples.count();
        while self.given < count {
            let picture = if self.fed < count {
                let sample = self.index.samples.data(&self.file, self.fed)?;
                self.fed += 1;
                self.stream.decode(self.fed - 1, sample)?
            } else {
                let Some(last) = self.stream.rest()? else {
                    let found = format!("{} in {count} samples", self.given);
                    return Err(ReadError::content(FORMAT, "a frame in every sample", found));
                };
                Some(last)
            };
            if let Some(picture) = picture {
                self.given += 1;
                return Ok(Some(picture.oriented(self.index.orientation)));
            }
        }
        Ok(None)
    }
}
