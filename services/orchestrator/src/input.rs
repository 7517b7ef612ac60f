//! The image or video that a request brings, as frames of the size of the video to be made.

use bytes::Bytes;
use cogwheel_api::generation::v1::{InputVideo, input_video};
use cogwheel_api::vae::v1::EncodePurpose;
use cogwheel_service::Failure;
use cogwheel_video::{FrameSize, Picture, ReadError, ReadLimits, VideoReader, read_picture};
use cogwheel_weights::Digest;

use crate::metadata::Digests;

/// An image or video that can be read, as far as its head tells. [`Input::look_through`] tells of the rest, which is read
/// again when it is encoded, a frame at a time: memory holds no more than one.
#[derive(Clone, Debug)]
pub(crate) struct Input {
    source: Source,
    limits: ReadLimits,
    /// Of a frame as it was brought, turned upright.
    pub(crate) size: FrameSize,
    /// Frames that there are; of a picture 1.
    pub(crate) count: usize,
    /// What was done to read it, in plain words.
    pub(crate) notes: Vec<String>,
}

#[derive(Clone, Debug)]
enum Source {
    Picture(Bytes),
    Video(Bytes),
    Pictures(Vec<Bytes>),
}

impl Input {
    /// Opens a picture. It is read whole, since only that shows that it can be.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn image(file: Bytes, limits: &ReadLimits) -> Result<Self, ReadError> {
        let picture = read_picture(&file, limits)?;
        let notes = picture.notes().iter().map(|note| format!("the image: {note}")).collect();
        let (source, limits) = (Source::Picture(file), *limits);
        Ok(Self { source, limits, size: picture.size(), count: 1, notes })
    }

    /// Opens a video, or pictures that are one. Its first frame is read.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(crate) fn video(video: InputVideo, limits: &ReadLimits) -> Result<Self, String> {
        let limits = *limits;
        match video.source {
            None => Err("expected a file or pictures, found nothing".to_owned()),
            Some(input_video::Source::File(file)) => {
                let mut reader =
                    VideoReader::open(file.to_vec(), &limits).map_err(|e| e.to_string())?;
                let count = usize::try_from(reader.frame_count()).unwrap_or(usize::MAX);
                let first = reader.next_frame().map_err(|error| error.to_string())?;
                let first = first.ok_or("expected frames, found none")?;
                let notes = first.notes().iter().map(|note| format!("the video: {note}")).collect();
                let source = Source::Video(file.clone());
                Ok(Self { source, size: first.size(), count, notes, limits })
            }
            Some(input_video::Source::Pictures(pictures)) => {
                let files = pictures.files;
                if files.len() as u64 > limits.max_frames {
                    let found = files.len();
                    return Err(format!(
                        "expected at most {} pictures, found {found}",
                        limits.max_frames
                    ));
                }
                let first = files.first().ok_or("expected pictures, found none")?;
                let first = read_picture(first, &limits).map_err(|e| format!("frame 0: {e}"))?;
                let notes =
                    first.notes().iter().map(|note| format!("the video's pictures: {note}"));
                let (size, count, notes) = (first.size(), files.len(), notes.collect());
                Ok(Self { source: Source::Pictures(files), size, count, notes, limits })
            }
        }
    }

    /// blake3 of the file, or of the digests of the files of the first pictures, as many as are used.
    pub(crate) fn digest(&self, used: usize) -> String {
        match &self.source {
            Source::Picture(file) | Source::Video(file) => Digest::of(file).to_string(),
            Source::Pictures(files) => Digests::of_pictures(&files[..used.min(files.len())]),
        }
    }

    /// Reads the first `count` frames to see that they can be, as long as `goes_on`. Work for a thread that may block.
    ///
    /// # Errors
    /// [`Failure::Invalid`] of `field` for what cannot be read.
    pub(crate) fn look_through(
        &self,
        field: &str,
        count: usize,
        mut goes_on: impl FnMut() -> bool,
    ) -> Result<(), Failure> {
        // Each alone was read when it was opened.
        let seen = self.count == 1 || count == 1;
        if seen { Ok(()) } else { self.frames(field, count, |_| goes_on()) }
    }

    /// Reads the first `count` frames, each resized as diffusers' `VaeImageProcessor` does it (Pillow's Lanczos filter, to
    /// the whole size, whatever its proportions), and hands over their pixels, three bytes each; until `take` says no. Work
    /// for a thread that may block.
    ///
    /// # Errors
    /// [`Failure::Invalid`] of `field` for what cannot be read.
    pub(crate) fn read(
        &self,
        field: &str,
        (count, size): (usize, FrameSize),
        mut take: impl FnMut(Vec<u8>) -> bool,
    ) -> Result<(), Failure> {
        self.frames(field, count, |picture| take(picture.resized(size).into_rgb()))
    }

    /// Hands over the first `count` frames until `take` says no.
    fn frames(
        &self,
        field: &str,
        count: usize,
        mut take: impl FnMut(Picture) -> bool,
    ) -> Result<(), Failure> {
        let invalid = |at: usize, error: &dyn std::fmt::Display| {
            let place = if self.count > 1 { format!("frame {at}: ") } else { String::new() };
            Failure::invalid(field, format!("{place}{error}"))
        };
        match &self.source {
            Source::Picture(file) => {
                let picture = read_picture(file, &self.limits);
                take(picture.map_err(|error| invalid(0, &error))?);
            }
            Source::Pictures(files) => {
                for (at, file) in files.iter().take(count).enumerate() {
                    let picture = read_picture(file, &self.limits);
                    if !take(picture.map_err(|error| invalid(at, &error))?) {
                        break;
                    }
                }
            }
            Source::Video(file) => {
                let reader = VideoReader::open(file.to_vec(), &self.limits);
                let mut reader = reader.map_err(|error| invalid(0, &error))?;
                for at in 0..count {
                    let frame = reader.next_frame().map_err(|error| invalid(at, &error))?;
                    let short = "expected a frame, found the video's end";
                    if !take(frame.ok_or_else(|| invalid(at, &short))?) {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// The field of the request that it came in.
    pub(crate) fn field(purpose: EncodePurpose) -> &'static str {
        if purpose == EncodePurpose::Image { "image" } else { "video" }
    }
}
