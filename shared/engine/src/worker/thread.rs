use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use tokio::sync::watch;

use super::{JobError, LoadPolicy, Readiness, job::panic_message, queue::Queue};

/// What the worker's thread holds beside the model.
pub(super) struct Thread<M, F> {
    pub(super) queue: Arc<Queue<M>>,
    pub(super) load: F,
    pub(super) readiness: watch::Sender<Readiness>,
    /// Dropped at the end of the thread.
    pub(super) ending: watch::Sender<()>,
}

impl<M, E: fmt::Display, F: FnMut() -> Result<M, E>> Thread<M, F> {
    pub(super) fn run(mut self, policy: LoadPolicy) {
        let mut model = match policy {
            LoadPolicy::Keep => self.load().ok(),
            LoadPolicy::ReleaseAfterUse => None,
        };
        loop {
            let queue = Arc::clone(&self.queue);
            let job = queue.next(|| {
                if policy == LoadPolicy::ReleaseAfterUse && model.take().is_some() {
                    tracing::debug!("model released");
                }
            });
            let Some(job) = job else { break };
            match self.model(&mut model, policy) {
                Ok(model) => job.run(Ok(model)),
                Err(message) => job.run(Err(JobError::Load(message))),
            }
        }
        drop(model);
        drop(self.ending);
    }

    /// The model, loaded if need be. One that failed to load for good is not tried again.
    fn model<'m>(
        &mut self,
        model: &'m mut Option<M>,
        policy: LoadPolicy,
    ) -> Result<&'m mut M, String> {
        if model.is_none() {
            let failed = match &*self.readiness.borrow() {
                Readiness::Failed(message) if policy == LoadPolicy::Keep => Some(message.clone()),
                _ => None,
            };
            *model = Some(match failed {
                Some(message) => return Err(message),
                None => self.load()?,
            });
        }
        model.as_mut().ok_or_else(|| "no model".to_owned())
    }

    fn load(&mut self) -> Result<M, String> {
        let result = catch_unwind(AssertUnwindSafe(&mut self.load))
            .map_err(|panic| panic_message(&*panic))
            .and_then(|loaded| loaded.map_err(|error| error.to_string()));
        let readiness = match &result {
            Ok(_) => Readiness::Ready,
            Err(message) => {
                tracing::error!(error = message, "model not loaded");
                Readiness::Failed(message.clone())
            }
        };
        self.readiness.send_replace(readiness);
        result
    }
}
