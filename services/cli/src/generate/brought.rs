//! `--image` and `--video`: files that go to the server as they are.

mod folder;
mod naming;
mod own;

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use cogwheel_api::generation::v1::{
    GenerateVideoRequest, InputVideo, Pictures, input_video::Source,
};
use cogwheel_orchestrator::Digests;
use cogwheel_service::Fatal;
use cogwheel_weights::Digest;

use crate::file_kind;

/// Most pictures of a folder that are read where nobody says how many are wanted: more than any model makes frames.
const MAX_PICTURES: usize = 1000;

const VIDEO: &str = "--video";

pub(super) use naming::Frames;
pub(super) use own::OwnFiles;

/// What a command brings beside its prompt.
#[derive(Clone, Debug, Default)]
pub(super) struct Brought {
    pub(super) image: Option<Bytes>,
    pub(super) video: Option<InputVideo>,
    /// Where the video's frames came from.
    pub(super) frames: Frames,
    /// What was left out, in plain words.
    pub(super) note: Option<String>,
}

/// Why a file does not go to the server.
#[derive(Debug, thiserror::Error)]
enum BroughtError {
    /// It cannot be read.
    #[error("{option} {}: {source}", .path.display())]
    Io { option: &'static str, path: PathBuf, source: std::io::Error },
    /// It is something else, or too large.
    #[error("{option} {}: expected {expected}, found {found}", .path.display())]
    Unfit { option: &'static str, path: PathBuf, expected: String, found: String },
}

impl Brought {
    /// Reads the files, which are at most `max` bytes; `num_frames` pictures of a folder are enough where that many are
    /// known to be wanted.
    ///
    /// # Errors
    /// A file that is missing, unreadable or larger than a request. What is in it, the server looks at.
    pub(super) fn read(
        image: Option<&Path>,
        video: Option<&Path>,
        num_frames: Option<u32>,
        max: u64,
    ) -> Result<Self, Fatal> {
        let image = image.map(|path| file("--image", path, max)).transpose();
        let image = image.map_err(Fatal::usage)?;
        let Some(path) = video else { return Ok(Self { image, ..Self::default() }) };
        let video = self::video(path, num_frames, max).map_err(Fatal::usage)?;
        Ok(Self { image, ..video })
    }

    /// Makes it what a request brings.
    pub(super) fn put_into(&self, request: &mut GenerateVideoRequest) {
        request.image.clone_from(&self.image);
        request.video.clone_from(&self.video);
    }

    /// As the server tells them of what it made a video of so many frames from.
    pub(super) fn digests(&self, initial_latents: Option<String>, num_frames: u32) -> Digests {
        let video = self.video.as_ref().and_then(|video| video.source.as_ref());
        Digests {
            initial_latents,
            image: self.image.as_ref().map(|file| Digest::of(file).to_string()),
            video: video.map(|source| match source {
                Source::File(file) => Digest::of(file).to_string(),
                Source::Pictures(Pictures { files }) => {
                    Digests::of_pictures(&files[..files.len().min(num_frames as usize)])
                }
            }),
        }
    }
}

/// A video's file, or the pictures of a folder.
fn video(path: &Path, num_frames: Option<u32>, max: u64) -> Result<Brought, BroughtError> {
    if !path.is_dir() {
        let source = Source::File(file(VIDEO, path, max)?);
        let video = Some(InputVideo { source: Some(source) });
        return Ok(Brought { video, frames: Frames::Of(path.to_path_buf()), ..Brought::default() });
    }
    let failed = |source| BroughtError::Io { option: VIDEO, path: path.to_path_buf(), source };
    let unfit = |expected: String, found: String| {
        let path = path.to_path_buf();
        BroughtError::Unfit { option: VIDEO, path, expected, found }
    };
    let mut paths = folder::pictures(path).map_err(failed)?;
    let count = paths.len();
    if count == 0 {
        let expected = "a folder with pictures (.png, .jpg, .jpeg or .webp)".to_owned();
        return Err(unfit(expected, "none in it".to_owned()));
    }
    // None at all would be refused for another reason than there is.
    paths.truncate(num_frames.map_or(MAX_PICTURES, |count| count.max(1) as usize));
    // All of them before one is read: the folder is too large, not the picture that comes last.
    let mut total = 0_u64;
    for path in &paths {
        let size = path.metadata().map(|metadata| metadata.len());
        let failed = |source| BroughtError::Io { option: VIDEO, path: path.clone(), source };
        total = total.saturating_add(size.map_err(failed)?);
    }
    if total > max {
        let pictures = paths.len();
        let expected = format!(
            "pictures of at most {max} bytes, which a request has room for (--max-request-bytes)"
        );
        let fewer = if num_frames.is_none() { " (--num-frames wants fewer)" } else { "" };
        return Err(unfit(expected, format!("{total} bytes in {pictures} pictures{fewer}")));
    }
    let mut left = max;
    let mut files = Vec::with_capacity(paths.len());
    for path in &paths {
        let file = file(VIDEO, path, left)?;
        left -= file.len() as u64;
        files.push(file);
    }
    let note = (files.len() < count)
        .then(|| format!("of the video's {count} pictures the first {} are read", files.len()));
    let source = Source::Pictures(Pictures { files });
    let video = Some(InputVideo { source: Some(source) });
    Ok(Brought { image: None, video, frames: Frames::Each(paths), note })
}

/// A regular file's bytes, of which there are at most `max`.
fn file(option: &'static str, path: &Path, max: u64) -> Result<Bytes, BroughtError> {
    let failed = |source| BroughtError::Io { option, path: path.to_path_buf(), source };
    let unfit = |expected: String, found: String| BroughtError::Unfit {
        option,
        path: path.to_path_buf(),
        expected,
        found,
    };
    let metadata = path.metadata().map_err(failed)?;
    // Opening a pipe would wait for whoever writes.
    if !metadata.is_file() {
        let found = file_kind::words(metadata.file_type());
        return Err(unfit("a file".to_owned(), found.to_owned()));
    }
    let mut bytes = Vec::new();
    // It may grow meanwhile.
    File::open(path).map_err(failed)?.take(max + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > max {
        let expected =
            format!("at most {max} bytes, which a request has room for (--max-request-bytes)");
        return Err(unfit(expected, metadata.len().max(bytes.len() as u64).to_string()));
    }
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX_BYTES: u64 = 1 << 20;

    #[test]
    fn a_folder_that_no_request_holds_is_refused_as_a_whole_and_fewer_of_it_are_taken() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.png", "b.png", "c.png"] {
            // Files with holes.
            let file = File::create(folder.path().join(name)).unwrap();
            file.set_len(MAX_BYTES / 2).unwrap();
        }
        let error = Brought::read(None, Some(folder.path()), None, MAX_BYTES).unwrap_err().message;
        let found = MAX_BYTES / 2 * 3;
        let expected = format!(
            "--video {}: expected pictures of at most {MAX_BYTES} bytes, which a request has room for (--max-request-bytes), found {found} bytes in 3 pictures (--num-frames wants fewer)",
            folder.path().display()
        );
        assert_eq!(error, expected);
        let brought = Brought::read(None, Some(folder.path()), Some(2), MAX_BYTES).unwrap();
        assert_eq!(brought.note.unwrap(), "of the video's 3 pictures the first 2 are read");
    }

    #[test]
    fn a_folder_is_its_pictures_in_order_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["10.png", "9.PNG", "cogwheel.json", "notes.txt"] {
            std::fs::write(folder.path().join(name), name).unwrap();
        }
        let brought = Brought::read(None, Some(folder.path()), None, MAX_BYTES).unwrap();
        let Some(Source::Pictures(pictures)) = brought.video.unwrap().source else { panic!() };
        assert_eq!(pictures.files, [&b"9.PNG"[..], b"10.png"]);
        let brought = Brought::read(None, Some(folder.path()), Some(1), MAX_BYTES).unwrap();
        let Some(Source::Pictures(pictures)) = brought.video.unwrap().source else { panic!() };
        assert_eq!(pictures.files.len(), 1);
    }

    #[test]
    fn what_cannot_be_brought_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let check = |image: Option<&Path>, video: Option<&Path>, expected: &str| {
            let error = Brought::read(image, video, None, MAX_BYTES).unwrap_err();
            assert!(error.message.contains(expected), "{}", error.message);
        };
        check(None, Some(folder.path()), "expected a folder with pictures");
        check(Some(folder.path()), None, "--image");
        check(Some(folder.path()), None, "expected a file, found a folder");
        #[cfg(unix)]
        {
            let socket = folder.path().join("socket.mp4");
            let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
            check(None, Some(&socket), "expected a file, found a socket");
            check(Some(Path::new("/dev/null")), None, "expected a file, found a device");
        }
        check(None, Some(Path::new("missing.mp4")), "--video missing.mp4: ");
        let large = folder.path().join("large.png");
        File::create(&large).unwrap().set_len(MAX_BYTES + 1).unwrap();
        let found = format!(
            "expected at most {MAX_BYTES} bytes, which a request has room for (--max-request-bytes), found {}",
            MAX_BYTES + 1
        );
        check(Some(&large), None, &found);
    }
}
