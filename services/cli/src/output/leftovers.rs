//! Pictures of another video, in a folder that a shorter one goes to: they would look like its end.

use std::ffi::OsStr;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::metadata::metadata_beside;

/// What lies behind the pictures of a video.
#[derive(Debug, Default)]
pub(super) struct Leftovers {
    /// Pictures that the folder's metadata accounts for: they go with the video that they are of.
    pub(super) ours: Vec<PathBuf>,
    /// The first of those that it does not.
    pub(super) foreign: Option<PathBuf>,
}

impl Leftovers {
    /// What is in `folder`, if it is there, behind the first `num_frames` pictures.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn find(folder: &Path, num_frames: u32) -> io::Result<Self> {
        let entries = match folder.read_dir() {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            entries => entries?,
        };
        let mut behind = Vec::new();
        for entry in entries {
            let entry = entry?;
            if let Some(number) = number(&entry.file_name())
                && number >= num_frames
                && !entry.file_type()?.is_dir()
            {
                behind.push((number, entry.path()));
            }
        }
        behind.sort();
        let accounted = metadata_beside(folder).map_or(0, |made| made.num_frames);
        let (ours, foreign): (Vec<_>, Vec<_>) =
            behind.into_iter().partition(|&(number, _)| number < accounted);
        Ok(Self {
            ours: ours.into_iter().map(|(_, path)| path).collect(),
            foreign: foreign.into_iter().next().map(|(_, path)| path),
        })
    }
}

/// The name of a picture.
pub(super) fn name(number: u32) -> String {
    format!("{number:05}.png")
}

fn number(file: &OsStr) -> Option<u32> {
    let file = file.to_str()?;
    let number = file.strip_suffix(".png")?.parse().ok()?;
    // `+0001.png` and `1.png` are numbers too.
    (name(number) == file).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_pictures_are_those_that_are_written() {
        let check = |file: &str, expected| assert_eq!(number(OsStr::new(file)), expected, "{file}");
        for number in [0, 7, 99_999, 100_000, u32::MAX] {
            check(&name(number), Some(number));
        }
        for other in
            ["1.png", "+0001.png", "000001.png", "00001.PNG", "00001.png~", "a.png", ".png"]
        {
            check(other, None);
        }
    }
}
