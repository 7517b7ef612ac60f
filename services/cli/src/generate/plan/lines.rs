use std::sync::Arc;

use cogwheel_service::Fatal;

use super::{Job, Plan};
use crate::generate::batch::{Batch, Line, is_made};
use crate::generate::brought::Brought;

/// What the command line says for all lines of a prompt file.
pub(super) struct OfAll<'a> {
    pub(super) job: &'a Job,
    pub(super) brought: &'a Arc<Brought>,
    /// Of the latents that all start from.
    pub(super) latents_digest: Option<String>,
    /// Frames where a line does not say, if that is known.
    pub(super) num_frames: Option<u32>,
    /// Bytes that a request has room for beside those latents.
    pub(super) room: u64,
}

/// What becomes of a line.
enum Outcome {
    Job(Box<Job>),
    /// Its video is there.
    Made,
}

impl Plan {
    /// A job for each line of a prompt file, but for what is there already.
    ///
    /// # Errors
    /// A line that cannot be made, unless it is to be skipped.
    pub(super) fn add_lines(&mut self, batch: Batch, of_all: &OfAll<'_>) -> Result<(), Fatal> {
        let Batch { lines, broken } = batch;
        self.broken_lines = broken.len();
        self.notices.extend(broken);
        for (index, line) in lines.iter().enumerate() {
            let number = line.number;
            match self.line(line, index, of_all) {
                Ok(Outcome::Job(job)) => self.jobs.push(*job),
                Ok(Outcome::Made) => {
                    let path = of_all.job.video.one(number).path(0);
                    self.notices.push(format!("{} is there already", path.display()));
                }
                Err(fatal) => {
                    let message = format!("line {number}: {}", fatal.message);
                    if !self.skip_broken {
                        return Err(Fatal { message, ..fatal });
                    }
                    self.notices.push(message);
                    self.broken_lines += 1;
                }
            }
        }
        Ok(())
    }

    fn line(&mut self, line: &Line, index: usize, of_all: &OfAll<'_>) -> Result<Outcome, Fatal> {
        let own = line.own_files(of_all.num_frames, of_all.room);
        let brought = match &own {
            Some(own) => Arc::new(own.read(of_all.brought)?),
            None => Arc::clone(of_all.brought),
        };
        let mut job = Job {
            request: line.request(&of_all.job.request, index),
            video: of_all.job.video.one(line.number),
            latents: of_all.job.latents.as_ref().map(|target| target.one(line.number)),
            frames: Arc::new(brought.frames.clone()),
            own: None,
            line: Some(line.number),
        };
        brought.put_into(&mut job.request);
        self.check(&job)?;
        let digests = |num_frames| brought.digests(of_all.latents_digest.clone(), num_frames);
        if is_made(&job.video, job.latents.as_ref(), &job.request, &digests) {
            return Ok(Outcome::Made);
        }
        if let Some(own) = own {
            let note = brought.note.as_ref();
            self.notices.extend(note.map(|note| format!("line {}: {note}", line.number)));
            of_all.brought.put_into(&mut job.request);
            job.own = Some((own, Arc::clone(of_all.brought)));
        }
        Ok(Outcome::Job(Box::new(job)))
    }
}
