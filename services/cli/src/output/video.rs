use std::path::{Path, PathBuf};

use cogwheel_api::denoiser::v1::VideoSize;
use cogwheel_api::generation::v1::{ArtifactPart, artifact_part::Part};
use cogwheel_api::tensor::v1::TensorPart;

use super::clip::Clip;
use super::pictures::Pictures;
use super::{Kind, TensorFile, WriteError};

/// The output of one video, written as it arrives.
#[derive(Debug)]
pub struct VideoFile(Writer);

#[derive(Debug)]
enum Writer {
    Clip(Clip),
    Pictures(Pictures),
    Frames(TensorFile),
}

impl VideoFile {
    /// Starts the file or folder `path` for a video of this size.
    ///
    /// # Errors
    /// [`WriteError::Io`].
    pub fn create(path: &Path, kind: Kind, size: VideoSize) -> Result<Self, WriteError> {
        Ok(Self(match kind {
            Kind::Mp4 | Kind::Gif => Writer::Clip(Clip::create(path)?),
            Kind::Pictures => Writer::Pictures(Pictures::create(path, size.num_frames)?),
            Kind::Tensors => {
                let shape = [size.num_frames, size.height, size.width, 3].map(u64::from);
                Writer::Frames(TensorFile::create(path, "frames", shape.to_vec())?)
            }
        }))
    }

    /// Takes the next part of a file.
    ///
    /// # Errors
    /// [`WriteError::Io`]; [`WriteError::Contract`] for what was not asked for.
    pub fn artifact(&mut self, part: ArtifactPart) -> Result<(), WriteError> {
        match (&mut self.0, part.part) {
            (Writer::Clip(clip), Some(Part::Header(header))) => clip.start(&header),
            (Writer::Clip(clip), Some(Part::Chunk(chunk))) => clip.push(&chunk),
            (Writer::Pictures(pictures), Some(Part::Header(header))) => pictures.start(&header),
            (Writer::Pictures(pictures), Some(Part::Chunk(chunk))) => pictures.push(&chunk),
            (Writer::Frames(_), Some(_)) => Err(WriteError::contract("frames", "a file")),
            (_, None) => Err(WriteError::contract("a part of a file", "an empty message")),
        }
    }

    /// Takes the next part of the frames.
    ///
    /// # Errors
    /// As [`Self::artifact`].
    pub fn frames(&mut self, part: TensorPart) -> Result<(), WriteError> {
        match &mut self.0 {
            Writer::Frames(frames) => frames.push(part),
            Writer::Clip(_) | Writer::Pictures(_) => Err(WriteError::contract("a file", "frames")),
        }
    }

    /// Puts what is whole in its place and gives the place.
    ///
    /// # Errors
    /// [`WriteError::Contract`] when something is missing; [`WriteError::Io`].
    pub fn finish(self) -> Result<PathBuf, WriteError> {
        match self.0 {
            Writer::Clip(clip) => clip.finish(),
            Writer::Pictures(pictures) => pictures.finish(),
            Writer::Frames(frames) => frames.finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use cogwheel_api::generation::v1::ArtifactHeader;

    use super::*;

    const SIZE: VideoSize = VideoSize { num_frames: 2, width: 16, height: 16 };

    fn header(name: &str, byte_length: u64) -> ArtifactPart {
        let header = ArtifactHeader { name: name.into(), media_type: String::new(), byte_length };
        ArtifactPart { part: Some(Part::Header(header)) }
    }

    fn chunk(bytes: &'static [u8]) -> ArtifactPart {
        ArtifactPart { part: Some(Part::Chunk(Bytes::from_static(bytes))) }
    }

    #[test]
    fn a_clip_is_what_its_chunks_hold() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clip.mp4");
        let mut file = VideoFile::create(&path, Kind::Mp4, SIZE).unwrap();
        file.artifact(header("video.mp4", 6)).unwrap();
        file.artifact(chunk(b"abc")).unwrap();
        file.artifact(chunk(b"def")).unwrap();
        assert_eq!(file.finish().unwrap(), path);
        assert_eq!(std::fs::read(path).unwrap(), b"abcdef");
    }

    #[test]
    fn pictures_are_taken_under_their_own_names_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clip/");
        let mut file = VideoFile::create(&path, Kind::Pictures, SIZE).unwrap();
        for name in ["00000.png", "00001.png"] {
            file.artifact(header(name, 1)).unwrap();
            file.artifact(chunk(b"x")).unwrap();
        }
        assert_eq!(file.finish().unwrap(), path);
        assert_eq!(std::fs::read(path.join("00001.png")).unwrap(), b"x");

        for name in ["00001.png", "../00000.png", "/etc/passwd", "video.mp4"] {
            let other = folder.path().join("other/");
            let mut file = VideoFile::create(&other, Kind::Pictures, SIZE).unwrap();
            let error = file.artifact(header(name, 1)).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
    }

    #[test]
    fn what_is_cut_short_or_runs_over_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let create = |kind| {
            let name = if kind == Kind::Pictures { "clip/" } else { "clip.mp4" };
            VideoFile::create(&folder.path().join(name), kind, SIZE).unwrap()
        };
        let mut cut = create(Kind::Mp4);
        cut.artifact(header("video.mp4", 6)).unwrap();
        cut.artifact(chunk(b"abc")).unwrap();
        assert!(cut.finish().is_err());
        let mut over = create(Kind::Mp4);
        over.artifact(header("video.mp4", 2)).unwrap();
        assert!(over.artifact(chunk(b"abc")).is_err());
        drop(over);
        assert!(create(Kind::Mp4).finish().is_err());
        let mut one = create(Kind::Pictures);
        one.artifact(header("00000.png", 1)).unwrap();
        one.artifact(chunk(b"x")).unwrap();
        assert!(one.finish().is_err());
        assert!(create(Kind::Tensors).artifact(header("video.mp4", 2)).is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
