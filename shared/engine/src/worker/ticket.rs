use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::{JobError, job::Parts};

/// A queued job's future result.
///
/// # Cancel safety
/// Dropping it withdraws the job: one that waits never runs, one that runs has its
/// [`JobContext::cancellation`](super::JobContext) fired.
#[must_use = "dropping a ticket withdraws its job"]
pub struct Ticket<R> {
    result: oneshot::Receiver<Result<R, JobError>>,
    ahead: watch::Receiver<usize>,
    cancellation: CancellationToken,
    withdraw: Box<dyn Fn() + Send + Sync>,
}

impl<R> Ticket<R> {
    pub(super) fn new(parts: Parts<R>, withdraw: Box<dyn Fn() + Send + Sync>) -> Self {
        let Parts { result, ahead, cancellation } = parts;
        Self { result, ahead, cancellation, withdraw }
    }

    /// How many jobs are ahead, the running one included, and every change of that; 0 when it is
    /// this one's turn. Closed when the job has ended.
    pub fn ahead(&self) -> watch::Receiver<usize> {
        self.ahead.clone()
    }

    /// The token that the job sees; firing it asks a running job to end with what it has.
    pub fn cancellation(&self) -> &CancellationToken {
        &self.cancellation
    }
}

impl<R> Future for Ticket<R> {
    type Output = Result<R, JobError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // A job that is dropped unrun was in a queue that closed.
        Pin::new(&mut self.result).poll(context).map(|r| r.unwrap_or(Err(JobError::Stopped)))
    }
}

impl<R> Drop for Ticket<R> {
    fn drop(&mut self) {
        self.cancellation.cancel();
        (self.withdraw)();
    }
}

impl<R> fmt::Debug for Ticket<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").field("ahead", &*self.ahead.borrow()).finish_non_exhaustive()
    }
}
