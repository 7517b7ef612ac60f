use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
};

use ort::session::{HasSelectedOutputs, OutputSelector, RunOptions};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::EngineError;

/// Options of one run, told to terminate when a token fires, for as long as this lives.
///
/// The token's own waker does it, on the thread that cancels: no thread waits and nothing polls.
pub(super) struct Termination {
    options: Arc<Terminate>,
    /// Holds the waker's registration with the token.
    _cancelled: Pin<Box<WaitForCancellationFutureOwned>>,
}

struct Terminate(RunOptions<HasSelectedOutputs>);

// SAFETY: options that name outputs may not be shared because two runs could write to them at once. The thread that made
// these has one run use them; others, through the waker, do nothing but terminate it, which ONNX Runtime allows them.
unsafe impl Sync for Terminate {}

impl Wake for Terminate {
    fn wake(self: Arc<Self>) {
        if let Err(error) = self.0.terminate() {
            tracing::error!(error = error.message(), "a cancelled run could not be terminated");
        }
    }
}

impl Termination {
    /// Of a run that gives `outputs`.
    ///
    /// # Errors
    /// [`EngineError::Cancelled`] when the token has fired already.
    pub(super) fn on(
        token: &CancellationToken,
        outputs: OutputSelector,
    ) -> Result<Self, EngineError> {
        let options = RunOptions::new().map_err(EngineError::of("setting up a run"))?;
        let options = Arc::new(Terminate(options.with_outputs(outputs)));
        let waker = Waker::from(Arc::clone(&options));
        let mut cancelled = Box::pin(token.clone().cancelled_owned());
        match cancelled.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(()) => Err(EngineError::Cancelled),
            Poll::Pending => Ok(Self { options, _cancelled: cancelled }),
        }
    }

    pub(super) fn options(&self) -> &RunOptions<HasSelectedOutputs> {
        &self.options.0
    }
}
