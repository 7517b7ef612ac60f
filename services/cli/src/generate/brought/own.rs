use std::path::PathBuf;

use cogwheel_service::Fatal;

use super::Brought;

/// Files that a line of a prompt file brings in the place of the command line's. They are read to be looked at before any work,
/// and again when the line's turn comes: memory holds those of one line.
#[derive(Clone, Debug)]
pub(crate) struct OwnFiles {
    pub(crate) image: Option<PathBuf>,
    pub(crate) video: Option<PathBuf>,
    /// Pictures of a folder that are wanted, where that is known.
    pub(crate) num_frames: Option<u32>,
    /// Bytes that a request has room for.
    pub(crate) max: u64,
}

impl OwnFiles {
    /// What the line brings, with `of_all` where it says nothing.
    ///
    /// # Errors
    /// As [`Brought::read`].
    pub(crate) fn read(&self, of_all: &Brought) -> Result<Brought, Fatal> {
        let (image, video) = (self.image.as_deref(), self.video.as_deref());
        let own = Brought::read(image, video, self.num_frames, self.max)?;
        let mut brought = Brought { note: own.note, ..of_all.clone() };
        if own.image.is_some() {
            brought.image = own.image;
        }
        if own.video.is_some() {
            (brought.video, brought.frames) = (own.video, own.frames);
        }
        Ok(brought)
    }
}
