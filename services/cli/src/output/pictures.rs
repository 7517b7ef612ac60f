use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use cogwheel_api::generation::v1::ArtifactHeader;

use super::WriteError;
use super::clip::Clip;
use super::leftovers::{self, Leftovers};
use super::metadata::metadata_path;
use super::pending::{PendingFolder, resolve};

/// A folder of PNG pictures: 00000.png, 00001.png, ...
#[derive(Debug)]
pub(super) struct Pictures {
    folder: PendingFolder,
    current: Option<Clip>,
    started: u32,
    num_frames: u32,
}

impl Pictures {
    /// Starts the folder for so many pictures.
    pub(super) fn create(path: &Path, num_frames: u32) -> Result<Self, WriteError> {
        let folder = PendingFolder::create(path)
            .map_err(|source| WriteError::Io { path: path.to_path_buf(), source })?;
        Ok(Self { folder, current: None, started: 0, num_frames })
    }

    /// Takes the header of the next picture. The name is checked, because it becomes a path.
    pub(super) fn start(&mut self, header: &ArtifactHeader) -> Result<(), WriteError> {
        self.finish_current()?;
        let expected = leftovers::name(self.started);
        if header.name != expected || self.started == self.num_frames {
            let expected = format!("{} pictures, next {expected}", self.num_frames);
            return Err(WriteError::contract(expected, format!("'{}'", header.name)));
        }
        let mut picture = Clip::new(self.folder.file(&expected)?);
        picture.start(header)?;
        self.current = Some(picture);
        self.started += 1;
        Ok(())
    }

    /// Writes the next bytes of the current picture.
    pub(super) fn push(&mut self, chunk: &[u8]) -> Result<(), WriteError> {
        match &mut self.current {
            Some(picture) => picture.push(chunk),
            None => Err(WriteError::contract("a picture's header", "its bytes")),
        }
    }

    /// Puts the whole folder in its place, over the pictures of the video that was there.
    pub(super) fn finish(mut self) -> Result<PathBuf, WriteError> {
        self.finish_current()?;
        if self.started != self.num_frames {
            let expected = format!("{} pictures", self.num_frames);
            return Err(WriteError::contract(expected, self.started));
        }
        let path = self.folder.path();
        make_room(path, self.num_frames)
            .map_err(|source| WriteError::Io { path: path.to_path_buf(), source })?;
        self.folder.commit()
    }

    fn finish_current(&mut self) -> Result<(), WriteError> {
        self.current.take().map_or(Ok(()), |picture| picture.finish().map(drop))
    }
}

/// Removes what is left of a longer video, and then what says how it was made: cut short here, the folder claims no video that
/// is not in it.
fn make_room(folder: &Path, num_frames: u32) -> io::Result<()> {
    let folder = resolve(folder);
    if !folder.is_dir() {
        return Ok(());
    }
    for picture in Leftovers::find(&folder, num_frames)?.ours {
        fs::remove_file(picture)?;
    }
    let metadata = metadata_path(&folder);
    if metadata.is_file() { fs::remove_file(metadata) } else { Ok(()) }
}
