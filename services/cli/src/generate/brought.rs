//! `--image` and `--video`: files that go to the server as they are.

use std::cmp::Ordering;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use cogwheel_api::generation::v1::{InputVideo, Pictures, input_video::Source};
use cogwheel_orchestrator::{Digests, MAX_REQUEST_BYTES};
use cogwheel_service::Fatal;
use cogwheel_weights::Digest;

/// Most bytes of an image or video: what a request may hold, which has room for the prompts beside it.
const MAX_BYTES: u64 = (MAX_REQUEST_BYTES - (1 << 20)) as u64;
/// Most pictures of a folder that are looked at: more than any model makes frames.
const MAX_PICTURES: usize = 1000;
/// Endings of pictures' names; whatever else lies in the folder is none.
const PICTURES: [&str; 4] = ["png", "jpg", "jpeg", "webp"];

/// What a command brings beside its prompt.
#[derive(Clone, Debug, Default)]
pub(super) struct Brought {
    pub(super) image: Option<Bytes>,
    pub(super) video: Option<InputVideo>,
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
    /// Reads the files; `num_frames` pictures of a folder are enough where that many are known to be wanted.
    ///
    /// # Errors
    /// A file that is missing, unreadable or larger than a request. What is in it, the server looks at.
    pub(super) fn read(
        image: Option<&Path>,
        video: Option<&Path>,
        num_frames: Option<u32>,
    ) -> Result<Self, Fatal> {
        let image = image.map(|path| file("--image", path, &mut 0)).transpose();
        let video = video.map(|path| self::video(path, num_frames)).transpose();
        Ok(Self {
            image: image.map_err(Fatal::usage)?,
            video: video.map_err(Fatal::usage)?.map(|source| InputVideo { source: Some(source) }),
        })
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

fn video(path: &Path, num_frames: Option<u32>) -> Result<Source, BroughtError> {
    const OPTION: &str = "--video";
    if !path.is_dir() {
        return file(OPTION, path, &mut 0).map(Source::File);
    }
    let failed = |source| BroughtError::Io { option: OPTION, path: path.to_path_buf(), source };
    let mut paths = Vec::new();
    for entry in path.read_dir().map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        if PICTURES.iter().any(|picture| ending.eq_ignore_ascii_case(picture)) {
            paths.push(path);
        }
    }
    paths.sort_by(|a, b| in_order(&name(a), &name(b)));
    if paths.is_empty() {
        return Err(BroughtError::Unfit {
            option: OPTION,
            path: path.to_path_buf(),
            expected: "a folder with pictures (.png, .jpg, .jpeg or .webp)".to_owned(),
            found: "none in it".to_owned(),
        });
    }
    let wanted = num_frames.map_or(MAX_PICTURES, |count| count as usize).min(MAX_PICTURES);
    let mut total = 0;
    let files: Result<_, _> =
        paths.iter().take(wanted).map(|path| file(OPTION, path, &mut total)).collect();
    Ok(Source::Pictures(Pictures { files: files? }))
}

/// A regular file's bytes, which together with the `total` so far are not too many.
fn file(option: &'static str, path: &Path, total: &mut u64) -> Result<Bytes, BroughtError> {
    let failed = |source| BroughtError::Io { option, path: path.to_path_buf(), source };
    let unfit = |expected: String, found: &str| BroughtError::Unfit {
        option,
        path: path.to_path_buf(),
        expected,
        found: found.to_owned(),
    };
    // Opening a pipe would wait for whoever writes.
    if !path.metadata().map_err(failed)?.is_file() {
        return Err(unfit("a file".to_owned(), "something else"));
    }
    let mut bytes = Vec::new();
    let left = MAX_BYTES.saturating_sub(*total);
    File::open(path).map_err(failed)?.take(left + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > left {
        return Err(unfit(
            format!("at most {MAX_BYTES} bytes, which a request has room for"),
            "more",
        ));
    }
    *total += bytes.len() as u64;
    Ok(bytes.into())
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Numbers within names count by their value: 2.png comes before 10.png.
fn in_order(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a, b);
    loop {
        let digits =
            |text: &str| text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        match (digits(left), digits(right)) {
            (0, 0) => {
                let (mut rest_left, mut rest_right) = (left.chars(), right.chars());
                match (rest_left.next(), rest_right.next()) {
                    (Some(x), Some(y)) if x == y => {
                        (left, right) = (rest_left.as_str(), rest_right.as_str())
                    }
                    (x, y) => return x.cmp(&y).then_with(|| a.cmp(b)),
                }
            }
            (0, _) | (_, 0) => return left.cmp(right),
            (x, y) => {
                let value = |text: &str| text.trim_start_matches('0').to_owned();
                let (p, q) = (value(&left[..x]), value(&right[..y]));
                let order = p.len().cmp(&q.len()).then_with(|| p.cmp(&q));
                if order != Ordering::Equal {
                    return order;
                }
                (left, right) = (&left[x..], &right[y..]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_the_order_of_the_numbers_in_them() {
        let sorted = [
            "a",
            "a1.png",
            "a02.png",
            "a2.png",
            "a10.png",
            "a10b.png",
            "b",
            "b-0",
            "b-00000000000000000000000",
            "b-1",
        ];
        let mut names = sorted.to_vec();
        names.reverse();
        names.sort_by(|a, b| in_order(a, b));
        assert_eq!(names, sorted);
    }

    #[test]
    fn a_folder_is_its_pictures_in_order_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["10.png", "9.PNG", "cogwheel.json", "notes.txt"] {
            std::fs::write(folder.path().join(name), name).unwrap();
        }
        let brought = Brought::read(None, Some(folder.path()), None).unwrap();
        let Some(Source::Pictures(pictures)) = brought.video.unwrap().source else { panic!() };
        assert_eq!(pictures.files, [&b"9.PNG"[..], b"10.png"]);
        let brought = Brought::read(None, Some(folder.path()), Some(1)).unwrap();
        let Some(Source::Pictures(pictures)) = brought.video.unwrap().source else { panic!() };
        assert_eq!(pictures.files.len(), 1);
    }

    #[test]
    fn what_cannot_be_brought_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let check = |image: Option<&Path>, video: Option<&Path>, expected: &str| {
            let error = Brought::read(image, video, None).unwrap_err();
            assert!(error.message.contains(expected), "{}", error.message);
        };
        check(None, Some(folder.path()), "expected a folder with pictures");
        check(Some(folder.path()), None, "--image");
        check(Some(folder.path()), None, "expected a file, found something else");
        check(None, Some(Path::new("missing.mp4")), "--video missing.mp4: ");
        let large = folder.path().join("large.png");
        File::create(&large).unwrap().set_len(MAX_BYTES + 1).unwrap();
        check(Some(&large), None, "expected at most");
    }
}
