use crate::{FrameSize, Picture, ReadError, ReadLimits, read_picture};

/// Picture files in a row.
pub(super) struct Pictures {
    files: std::vec::IntoIter<Vec<u8>>,
    first: Option<Picture>,
    frame_size: FrameSize,
    count: u64,
    limits: ReadLimits,
}

impl Pictures {
    pub(super) fn open(files: Vec<Vec<u8>>, limits: &ReadLimits) -> Result<Self, ReadError> {
        let count = files.len() as u64;
        limits.check_frames("pictures", count)?;
        let mut files = files.into_iter();
        let first = read_picture(&files.next().unwrap_or_default(), limits)?;
        let frame_size = first.size();
        Ok(Self { files, first: Some(first), frame_size, count, limits: *limits })
    }

    pub(super) fn frame_size(&self) -> FrameSize {
        self.frame_size
    }

    pub(super) fn frame_count(&self) -> u64 {
        self.count
    }

    pub(super) fn next_frame(&mut self) -> Result<Option<Picture>, ReadError> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        let frame = self.count - self.files.len() as u64;
        let Some(file) = self.files.next() else { return Ok(None) };
        let picture = read_picture(&file, &self.limits)?;
        if picture.size() == self.frame_size {
            Ok(Some(picture))
        } else {
            Err(ReadError::FrameSize { frame, expected: self.frame_size, found: picture.size() })
        }
    }
}
