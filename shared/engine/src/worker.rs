mod error;
mod job;
mod pace;
mod queue;
mod thread;
mod ticket;

use std::{fmt, io, sync::Arc, time::Duration};

use tokio::sync::watch;

pub use error::{JobError, SubmitError};
pub use job::JobContext;
pub use pace::Pace;
use queue::Queue;
pub use ticket::Ticket;

/// When a worker holds its model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LoadPolicy {
    /// Loaded at once and held until the worker ends.
    #[default]
    Keep,
    /// Loaded for the first job that waits, dropped when none does, before the last one's caller
    /// has its answer: for machines whose memory holds one stage at a time.
    ///
    /// A load that fails is that job's failure alone ([`JobError::Load`]). The worker stays
    /// [`Readiness::Ready`] and tries anew for the next job: what was short, memory or a file that
    /// was being replaced, may be there by then.
    ReleaseAfterUse,
}

/// Whether a worker can take jobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// The model is being loaded for the first time.
    Loading,
    /// Jobs run as they come.
    Ready,
    /// The model that was to be kept could not be loaded, or its thread panicked outside of a job;
    /// every job fails.
    Failed(String),
}

/// How a worker is set up.
#[derive(Clone, Debug)]
pub struct WorkerOptions {
    /// What the model is called: in the log, as `service`, and by its thread, for debuggers and profiles.
    pub name: String,
    /// Jobs that may wait beside the one that runs.
    pub queue_depth: usize,
    /// When the model is held.
    pub policy: LoadPolicy,
}

/// One thread that owns a model and runs jobs on it, first come, first served.
///
/// Dropping it does what [`Worker::shutdown`] does, without waiting.
pub struct Worker<M> {
    queue: Arc<Queue<M>>,
    readiness: watch::Receiver<Readiness>,
    /// Closed by the thread when it ends.
    ended: watch::Receiver<()>,
}

impl<M: 'static> Worker<M> {
    /// Starts the thread; it begins by loading the model if the policy is to keep it.
    ///
    /// `load` runs on the worker's thread, as everything that touches the model does.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn spawn<E: fmt::Display>(
        options: WorkerOptions,
        load: impl FnMut() -> Result<M, E> + Send + 'static,
    ) -> io::Result<Self> {
        let queue = Arc::new(Queue::new(options.queue_depth));
        let first = match options.policy {
            LoadPolicy::Keep => Readiness::Loading,
            LoadPolicy::ReleaseAfterUse => Readiness::Ready,
        };
        let (readiness, watched) = watch::channel(first);
        let (ending, ended) = watch::channel(());
        let thread = thread::Thread { queue: Arc::clone(&queue), load, readiness, _ending: ending };
        let span = tracing::info_span!("worker", service = options.name);
        let run = move || span.in_scope(|| thread.run(options.policy));
        std::thread::Builder::new().name(options.name).spawn(run)?;
        Ok(Self { queue, readiness: watched, ended })
    }

    /// Queues a job; it runs in the caller's tracing span.
    ///
    /// # Errors
    /// [`SubmitError::QueueFull`] when as many jobs wait as may; [`SubmitError::Stopped`] after
    /// [`Worker::shutdown`].
    pub fn submit<R: Send + 'static>(
        &self,
        job: impl FnOnce(&mut M, &JobContext) -> R + Send + 'static,
    ) -> Result<Ticket<R>, SubmitError> {
        let (job, parts) = job::Job::new(job);
        let id = self.queue.push(job)?;
        let queue = Arc::downgrade(&self.queue);
        Ok(Ticket::new(
            parts,
            Box::new(move || {
                if let Some(queue) = queue.upgrade() {
                    queue.withdraw(id);
                }
            }),
        ))
    }

    /// Whether the model is there, and every change of that.
    pub fn ready(&self) -> watch::Receiver<Readiness> {
        self.readiness.clone()
    }

    /// Jobs that wait, without the one that runs.
    pub fn waiting(&self) -> usize {
        self.queue.waiting()
    }

    /// What a job took lately; zero while none has ended.
    pub fn pace(&self) -> Duration {
        self.queue.pace.mean()
    }

    /// Takes no more jobs, fails those that wait with [`JobError::Stopped`], and returns when the
    /// one that runs has finished and the model is dropped.
    ///
    /// # Cancel safety
    /// The worker ends whether or not this is awaited to its end.
    pub async fn shutdown(&self) {
        self.queue.close();
        let mut ended = self.ended.clone();
        // The sender says nothing: it is dropped when the thread ends.
        while ended.changed().await.is_ok() {}
    }
}

impl<M> Drop for Worker<M> {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl<M> fmt::Debug for Worker<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("readiness", &self.readiness).finish_non_exhaustive()
    }
}
