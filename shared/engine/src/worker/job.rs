use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::Span;

use super::JobError;

/// What a running job knows of its caller.
#[derive(Clone, Debug)]
pub struct JobContext {
    /// Fires when the caller drops its [`Ticket`](super::Ticket).
    pub cancellation: CancellationToken,
}

/// Takes the model, or the reason why there is none.
type Run<M> = Box<dyn FnOnce(Result<&mut M, JobError>) + Send>;

/// A job with its result's type erased.
pub(super) struct Job<M> {
    /// Runs it on the model, or passes on why it cannot be run.
    run: Run<M>,
    /// How many jobs are ahead of it.
    pub(super) ahead: watch::Sender<usize>,
}

/// The caller's ends of a job.
pub(super) struct Parts<R> {
    pub(super) result: oneshot::Receiver<Result<R, JobError>>,
    pub(super) ahead: watch::Receiver<usize>,
    pub(super) cancellation: CancellationToken,
}

impl<M> Job<M> {
    pub(super) fn new<R: Send + 'static>(
        job: impl FnOnce(&mut M, &JobContext) -> R + Send + 'static,
    ) -> (Self, Parts<R>) {
        let (answer, result) = oneshot::channel();
        let (ahead, watched) = watch::channel(0);
        let cancellation = CancellationToken::new();
        let context = JobContext { cancellation: cancellation.clone() };
        let span = Span::current();
        let run = move |model: Result<&mut M, JobError>| {
            let outcome = model.and_then(|model| {
                // Jobs work on the model through sessions, which hold no half-made state of ours.
                let work = AssertUnwindSafe(|| span.in_scope(|| job(model, &context)));
                catch_unwind(work).map_err(|panic| JobError::Panicked(panic_message(&*panic)))
            });
            // Nobody listens when the caller has left.
            let _ = answer.send(outcome);
        };
        (Self { run: Box::new(run), ahead }, Parts { result, ahead: watched, cancellation })
    }

    pub(super) fn run(self, model: Result<&mut M, JobError>) {
        (self.run)(model);
    }
}

/// What a panic said.
pub(super) fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message").to_owned()
}
