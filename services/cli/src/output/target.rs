use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::path::{Component, Path, PathBuf};

use super::PathError;
use super::leftovers::{self, Leftovers};
use super::pending::{PendingFile, PendingFolder, resolve};
use crate::file_kind;

/// The endings of `--output`.
const VIDEO_ENDINGS: &str = ".mp4, .gif or .safetensors, or a folder (ending in / or existing)";

/// Where the files of one option go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    option: &'static str,
    kind: Kind,
    path: PathBuf,
    /// Number of videos, where it was stated: names are numbered then.
    num_videos: Option<u32>,
}

/// What the ending of a path asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// H.264 in MP4.
    Mp4,
    /// Animated GIF.
    Gif,
    /// A folder of 00000.png, 00001.png, ...
    Pictures,
    /// Tensors in safetensors.
    Tensors,
}

impl Target {
    /// `--output`: checks the path, and those of all videos, by everything short of writing.
    ///
    /// # Errors
    /// A [`PathError`] that names option, path, expected and found.
    pub fn video(path: &Path, num_videos: Option<u32>) -> Result<Self, PathError> {
        let option = "--output";
        let kind = kind_of(path).ok_or_else(|| ending(option, path, VIDEO_ENDINGS))?;
        Self { option, kind, path: path.to_path_buf(), num_videos }.checked()
    }

    /// `--output-latents`: the same for a file of latents.
    ///
    /// # Errors
    /// As [`Self::video`].
    pub fn latents(path: &Path, num_videos: Option<u32>) -> Result<Self, PathError> {
        let option = "--output-latents";
        match kind_of(path) {
            Some(kind @ Kind::Tensors) => {
                Self { option, kind, path: path.to_path_buf(), num_videos }.checked()
            }
            _ => Err(ending(option, path, ".safetensors")),
        }
    }

    /// What the ending asks for.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Where video `index` goes: the path itself, or `NAME-0.EXT` and so on where the number of
    /// videos was stated.
    pub fn path(&self, index: u32) -> PathBuf {
        let (Some(_), Some(name)) = (self.num_videos, self.path.file_stem()) else {
            return self.path.clone();
        };
        let mut numbered = OsString::from(match self.kind {
            // A folder's name has no ending, whatever dots it has.
            Kind::Pictures => self.path.file_name().unwrap_or(name),
            _ => name,
        });
        numbered.push(format!("-{index}"));
        match self.path.extension() {
            Some(ending) if self.kind != Kind::Pictures => {
                numbered.push(".");
                numbered.push(ending);
            }
            Some(_) | None => {}
        }
        let path = self.path.with_file_name(numbered);
        // What ended in / still says that it is a folder.
        if self.kind == Kind::Pictures { path.join("") } else { path }
    }

    /// The target of video `index` alone.
    #[must_use]
    pub fn one(&self, index: u32) -> Self {
        Self { path: self.path(index), num_videos: None, ..self.clone() }
    }

    /// The file or folder that [`Self::path`] leads to, under whatever names: equal for equal files.
    pub fn place(&self, index: u32) -> PathBuf {
        let place = resolve(&self.path(index));
        let folder = parent(&place);
        let folder = folder.canonicalize().unwrap_or(folder);
        folder.join(place.file_name().unwrap_or_default())
    }

    /// Looks into the folder of video `index` for pictures that would stay behind its `num_frames` and look like its end;
    /// gives the number of those that go with the video that was there.
    ///
    /// # Errors
    /// A picture of which nobody knows whose it is.
    pub fn leftovers(&self, index: u32, num_frames: u32) -> Result<usize, PathError> {
        if self.kind != Kind::Pictures {
            return Ok(0);
        }
        let path = self.path(index);
        let found = Leftovers::find(&resolve(&path), num_frames)
            .map_err(|source| self.unwritable(&path, source))?;
        match found.foreign {
            None => Ok(found.ours.len()),
            Some(found) => {
                let last = leftovers::name(num_frames.saturating_sub(1));
                let found = found.file_name().unwrap_or_default().to_string_lossy().into_owned();
                Err(PathError::Leftover { option: self.option, path, last, found })
            }
        }
    }

    fn checked(self) -> Result<Self, PathError> {
        if self.num_videos.is_some() && self.path.file_name().is_none() {
            return Err(PathError::NoName { option: self.option, path: self.path });
        }
        for index in 0..self.num_videos.unwrap_or(1) {
            self.check(&self.path(index))?;
        }
        // One temporary file stands for all: they lie beside each other.
        let probe = self.path(0);
        let probed = match self.kind {
            Kind::Pictures => PendingFolder::create(&probe).map(drop),
            _ => PendingFile::create(&probe).map(drop),
        };
        probed.map_err(|source| self.unwritable(&probe, source))?;
        Ok(self)
    }

    fn check(&self, path: &Path) -> Result<(), PathError> {
        let place = resolve(path);
        if self.kind == Kind::Pictures && place.is_dir() {
            return Ok(());
        }
        let folder = parent(&place);
        if !folder.is_dir() {
            let found = folder.metadata().map(|found| file_kind::words(found.file_type()));
            let found = found.unwrap_or("nothing");
            let (option, path) = (self.option, path.to_path_buf());
            return Err(PathError::NoFolder { option, path, folder, found });
        }
        let occupied = |expected, found| PathError::Occupied {
            option: self.option,
            path: path.to_path_buf(),
            expected,
            found,
        };
        // `place` without the slash that a folder may end in, which would hide a file.
        let place = folder.join(place.file_name().unwrap_or_default());
        match (self.kind, fs::metadata(&place)) {
            (_, Err(_)) => Ok(()),
            (Kind::Pictures, Ok(found)) => {
                Err(occupied("a folder", file_kind::words(found.file_type())))
            }
            (_, Ok(found)) if !found.is_file() => {
                Err(occupied("a file", file_kind::words(found.file_type())))
            }
            // Not written to: a file its owner has locked is not to be replaced either.
            (_, Ok(_)) => match OpenOptions::new().write(true).open(&place) {
                Ok(_) => Ok(()),
                Err(source) => Err(self.unwritable(path, source)),
            },
        }
    }

    fn unwritable(&self, path: &Path, source: std::io::Error) -> PathError {
        PathError::Unwritable { option: self.option, path: path.to_path_buf(), source }
    }
}

/// The folder that a path is in: `.` for a bare name.
pub(super) fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if folder.as_os_str().is_empty() => PathBuf::from("."),
        Some(folder) => folder.to_path_buf(),
        // `/` or `..`: folders themselves.
        None => path.to_path_buf(),
    }
}

fn kind_of(path: &Path) -> Option<Kind> {
    let ends_in_slash = path
        .as_os_str()
        .as_encoded_bytes()
        .last()
        .is_some_and(|&byte| std::path::is_separator(char::from(byte)));
    let is_dots =
        matches!(path.components().next_back(), Some(Component::CurDir | Component::ParentDir));
    if ends_in_slash || is_dots || path.is_dir() {
        return Some(Kind::Pictures);
    }
    let ending = path.extension()?.to_str()?.to_ascii_lowercase();
    match ending.as_str() {
        "mp4" => Some(Kind::Mp4),
        "gif" => Some(Kind::Gif),
        "safetensors" => Some(Kind::Tensors),
        _ => None,
    }
}

fn ending(option: &'static str, path: &Path, expected: &'static str) -> PathError {
    let found = if path.is_dir() {
        "a folder".to_owned()
    } else {
        path.extension()
            .map_or("none".to_owned(), |ending| format!(".{}", ending.to_string_lossy()))
    };
    PathError::Ending { option, path: path.to_path_buf(), expected, found }
}

#[cfg(test)]
mod tests;
