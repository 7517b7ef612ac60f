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

/// A job with its result's type erased.
pub(super) struct Job<M> {
    work: Box<dyn Work<M>>,
    /// How many jobs are ahead of it.
    pub(super) ahead: watch::Sender<usize>,
}

/// What a job came to, not yet said to its caller: the worker may have something to do first.
#[must_use = "the caller waits for it"]
pub(super) struct Answer {
    say: Box<dyn FnOnce() + Send>,
    is_awaited: bool,
    /// Closed when the job has ended.
    _ahead: watch::Sender<usize>,
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
        let work = Box::new(Typed { job, context, span, answer });
        (Self { work, ahead }, Parts { result, ahead: watched, cancellation })
    }

    /// Whether the caller still holds the ticket.
    pub(super) fn is_awaited(&self) -> bool {
        self.work.is_awaited()
    }

    /// Runs it on the model, or passes on why it cannot be run.
    pub(super) fn run(self, model: Result<&mut M, JobError>) -> Answer {
        let (say, is_awaited) = self.work.run(model);
        Answer { say, is_awaited, _ahead: self.ahead }
    }
}

impl Answer {
    /// Whether the caller was still there when the job had ended.
    pub(super) fn is_awaited(&self) -> bool {
        self.is_awaited
    }

    /// Says it to the caller.
    pub(super) fn send(self) {
        (self.say)();
    }
}

trait Work<M>: Send {
    fn is_awaited(&self) -> bool;
    /// What says the outcome to the caller, and whether there is one still.
    fn run(self: Box<Self>, model: Result<&mut M, JobError>) -> (Box<dyn FnOnce() + Send>, bool);
}

struct Typed<F, R> {
    job: F,
    context: JobContext,
    span: Span,
    answer: oneshot::Sender<Result<R, JobError>>,
}

impl<M, F, R> Work<M> for Typed<F, R>
where
    F: FnOnce(&mut M, &JobContext) -> R + Send,
    R: Send + 'static,
{
    fn is_awaited(&self) -> bool {
        !self.answer.is_closed()
    }

    fn run(self: Box<Self>, model: Result<&mut M, JobError>) -> (Box<dyn FnOnce() + Send>, bool) {
        let Self { job, context, span, answer } = *self;
        let outcome = model.and_then(|model| {
            // Jobs work on the model through sessions, which hold no half-made state of ours.
            let work = AssertUnwindSafe(|| span.in_scope(|| job(model, &context)));
            catch_unwind(work).map_err(|panic| JobError::Panicked(panic_message(&*panic)))
        });
        let is_awaited = !answer.is_closed();
        let say = Box::new(move || {
            // Nobody listens when the caller has left.
            let _ = answer.send(outcome);
        });
        (say, is_awaited)
    }
}

/// What a panic said.
pub(super) fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message").to_owned()
}
