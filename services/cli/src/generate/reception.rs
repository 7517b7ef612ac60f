use std::collections::BTreeMap;
use std::path::PathBuf;

use cogwheel_api::denoiser::v1::VideoSize;
use cogwheel_api::generation::v1::{
    Accepted, GenerateVideoRequest, GenerateVideoResponse, VideoCompleted,
    generate_video_response::Event,
};
use cogwheel_api::tensor::v1::{TensorPart, tensor_part::Part};
use cogwheel_service::Fatal;

use super::again::Again;
use crate::latents;
use crate::output::{Target, TensorFile, VideoFile, write_metadata};
use crate::progress::Progress;

/// Turns what a server sends into files and progress. What it sends is checked: it names no paths
/// and writes no more than was announced.
pub(super) struct Reception<'a> {
    video: Target,
    latents: Option<Target>,
    progress: &'a mut Progress,
    num_videos: u32,
    size: Option<VideoSize>,
    /// The video that is made again.
    again: Option<Again>,
    open: BTreeMap<u32, OpenFiles>,
    completed: u32,
}

/// The files of a video that is not complete.
#[derive(Default)]
struct OpenFiles {
    video: Option<VideoFile>,
    latents: Option<TensorFile>,
    has_latents: bool,
}

impl<'a> Reception<'a> {
    pub(super) fn new(
        video: Target,
        latents: Option<Target>,
        request: &GenerateVideoRequest,
        again: Option<Again>,
        progress: &'a mut Progress,
    ) -> Self {
        let num_videos = request.num_videos.unwrap_or(1);
        let open = BTreeMap::new();
        Self { video, latents, progress, num_videos, size: None, again, open, completed: 0 }
    }

    /// Takes the next response; gives the files that are complete by it.
    ///
    /// # Errors
    /// A file that cannot be written, or an answer that breaks the contract.
    pub(super) fn take(&mut self, response: GenerateVideoResponse) -> Result<Vec<PathBuf>, Fatal> {
        let index = response.video_index;
        let Some(event) = response.event else { return Ok(Vec::new()) };
        self.progress.show(index, &event);
        match event {
            Event::Accepted(accepted) => self.accept(&accepted)?,
            Event::Artifact(part) => {
                self.video(index)?.artifact(part)?;
            }
            Event::Frames(part) => self.video(index)?.frames(part)?,
            Event::Latents(part) => return Ok(self.latents(index, part)?.into_iter().collect()),
            Event::VideoCompleted(completed) => return self.complete(index, &completed),
            Event::StageStarted(_)
            | Event::Queued(_)
            | Event::VariantMerging(_)
            | Event::StepCompleted(_)
            | Event::TilesDecoded(_)
            | Event::FramesEncoded(_)
            | Event::FramesDecoded(_)
            | Event::PromptEnhanced(_)
            | Event::Notice(_) => {}
        }
        Ok(Vec::new())
    }

    /// Where the rest of the terminal is seen to.
    pub(super) fn progress(&self) -> &Progress {
        self.progress
    }

    /// The same, to tell of another generation.
    pub(super) fn progress_mut(&mut self) -> &mut Progress {
        self.progress
    }

    /// The stream has ended.
    ///
    /// # Errors
    /// When videos are missing.
    pub(super) fn finish(self) -> Result<(), Fatal> {
        if self.completed == self.num_videos {
            return Ok(());
        }
        let (expected, found) = (self.num_videos, self.completed);
        Err(Fatal::failed(format!(
            "the server's answer: expected {expected} videos, found that it ended after {found}"
        )))
    }

    fn accept(&mut self, accepted: &Accepted) -> Result<(), Fatal> {
        let (Some(size), true) = (accepted.size, accepted.num_videos == self.num_videos) else {
            let (expected, found) = (self.num_videos, accepted.num_videos);
            return Err(broken(&format!("{expected} videos of a stated size"), &found.to_string()));
        };
        self.size = Some(size);
        let again = self.again.iter();
        for note in again.flat_map(|again| again.differences(&accepted.adapters)) {
            self.progress.note(&note);
        }
        for note in self.check_leftovers(size.num_frames)? {
            self.progress.note(&note);
        }
        Ok(())
    }

    /// Looks for pictures that would look like the end of videos of so many frames; says which will go.
    ///
    /// # Errors
    /// Those that are nobody's.
    pub(super) fn check_leftovers(&self, num_frames: u32) -> Result<Vec<String>, Fatal> {
        let mut notes = Vec::new();
        for index in 0..self.num_videos {
            let found = self.video.leftovers(index, num_frames).map_err(Fatal::usage)?;
            if found > 0 {
                let folder = self.video.path(index);
                notes.push(format!(
                    "{} holds a longer video, of which the last {found} pictures go with the others",
                    folder.display()
                ));
            }
        }
        Ok(notes)
    }

    fn files(&mut self, index: u32) -> Result<(&mut OpenFiles, VideoSize), Fatal> {
        match self.size {
            Some(size) if index < self.num_videos => {
                Ok((self.open.entry(index).or_default(), size))
            }
            Some(_) => {
                Err(broken(&format!("{} videos", self.num_videos), &format!("number {index}")))
            }
            None => Err(broken("how the request was understood", "a result")),
        }
    }

    fn video(&mut self, index: u32) -> Result<&mut VideoFile, Fatal> {
        let (path, kind) = (self.video.path(index), self.video.kind());
        let (files, size) = self.files(index)?;
        match &mut files.video {
            Some(video) => Ok(video),
            none => {
                let video = VideoFile::create(&path, kind, size)?;
                Ok(none.insert(video))
            }
        }
    }

    /// Latents are put in their place as soon as they are whole: they took most of the work.
    fn latents(&mut self, index: u32, part: TensorPart) -> Result<Option<PathBuf>, Fatal> {
        let target = self.latents.as_ref().map(|target| target.path(index));
        let path = target.ok_or_else(|| broken("a video", "latents"))?;
        let (files, _) = self.files(index)?;
        if files.has_latents {
            return Err(broken("a video", "latents again"));
        }
        let mut file = match (files.latents.take(), &part.part) {
            (Some(file), _) => file,
            (None, Some(Part::Header(header))) => {
                TensorFile::create(&path, latents::NAME, header.shape.clone())?
            }
            (None, _) => return Err(broken("a tensor's header", "its bytes")),
        };
        file.push(part)?;
        if file.is_whole() {
            files.has_latents = true;
            return Ok(Some(file.finish()?));
        }
        files.latents = Some(file);
        Ok(None)
    }

    fn complete(&mut self, index: u32, completed: &VideoCompleted) -> Result<Vec<PathBuf>, Fatal> {
        self.files(index)?;
        let files = self.open.remove(&index).unwrap_or_default();
        if self.latents.is_some() && !files.has_latents {
            return Err(broken("latents", "none"));
        }
        let video = files.video.ok_or_else(|| broken("a video", "none"))?;
        let path = video.finish()?;
        let again = self.again.as_ref();
        if let Some(note) = again.and_then(|again| again.other_variant(&completed.variant)) {
            self.progress.note(&note);
        }
        // The video is there: what cannot be written beside it is no reason to lose the next ones.
        if let Err(error) = write_metadata(&path, &completed.metadata_json) {
            self.progress.note(&format!("how the video was made is not written: {error}"));
        }
        self.completed += 1;
        Ok(vec![path])
    }
}

fn broken(expected: &str, found: &str) -> Fatal {
    Fatal::failed(format!("the server's answer: expected {expected}, found {found}"))
}

#[cfg(test)]
mod tests;
