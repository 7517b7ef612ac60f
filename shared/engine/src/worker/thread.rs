use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
    time::Instant,
};

use tokio::sync::watch;

use crate::freed;

use super::{JobError, LoadPolicy, Readiness, job::panic_message, queue::Queue};

/// What the worker's thread holds beside the model.
pub(super) struct Thread<M, F> {
    pub(super) queue: Arc<Queue<M>>,
    pub(super) load: F,
    pub(super) readiness: watch::Sender<Readiness>,
    /// Dropped at the end of the thread.
    pub(super) _ending: watch::Sender<()>,
}

impl<M, E: fmt::Display, F: FnMut() -> Result<M, E>> Thread<M, F> {
    pub(super) fn run(mut self, policy: LoadPolicy) {
        let mut model = match policy {
            LoadPolicy::Keep => self.keep(),
            LoadPolicy::ReleaseAfterUse => None,
        };
        while let Some(job) = self.queue.next(|| release(&mut model, policy)) {
            // The caller left after the job was taken out of the queue: a load could take minutes.
            if !job.is_awaited() {
                continue;
            }
            let answer = match self.model(&mut model, policy) {
                Ok(model) => {
                    let start = Instant::now();
                    let answer = job.run(Ok(model));
                    // What was broken off tells nothing.
                    if answer.is_awaited() {
                        self.queue.pace.took(start.elapsed());
                    }
                    answer
                }
                Err(message) => job.run(Err(JobError::Load(message))),
            };
            // Before the answer: upon it the next stage is loaded, into memory that holds only one.
            if self.queue.waiting() == 0 {
                release(&mut model, policy);
            }
            answer.send();
        }
    }

    fn keep(&mut self) -> Option<M> {
        let loaded = self.load();
        let readiness = match &loaded {
            Ok(_) => Readiness::Ready,
            // Whoever follows the readiness says so; told here as well, it would be told twice.
            Err(message) => Readiness::Failed(message.clone()),
        };
        self.readiness.send_replace(readiness);
        loaded.ok()
    }

    /// The model, loaded if need be. One that is kept and failed to load is not tried again.
    fn model<'m>(
        &mut self,
        model: &'m mut Option<M>,
        policy: LoadPolicy,
    ) -> Result<&'m mut M, String> {
        match model {
            Some(model) => Ok(model),
            None if policy == LoadPolicy::ReleaseAfterUse => Ok(model.insert(self.load()?)),
            None => Err(match &*self.readiness.borrow() {
                Readiness::Failed(message) => message.clone(),
                Readiness::Loading | Readiness::Ready => "no model".to_owned(),
            }),
        }
    }

    fn load(&mut self) -> Result<M, String> {
        catch_unwind(AssertUnwindSafe(&mut self.load))
            .map_err(|panic| panic_message(&*panic))
            .and_then(|loaded| loaded.map_err(|error| error.to_string()))
    }
}

/// However the thread ends, nobody goes on waiting for it.
impl<M, F> Drop for Thread<M, F> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.readiness
                .send_replace(Readiness::Failed("the model's thread panicked".to_owned()));
        }
        self.queue.close();
    }
}

fn release<M>(model: &mut Option<M>, policy: LoadPolicy) {
    if policy == LoadPolicy::ReleaseAfterUse && model.take().is_some() {
        freed::give_back();
        tracing::debug!("model released");
    }
}
