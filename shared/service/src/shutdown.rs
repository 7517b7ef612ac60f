use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::Failure;

/// How long work that was cut may take to say so to its callers.
const FAREWELL: Duration = Duration::from_secs(2);

/// The end of a process, in two moments: no new work, then no work at all.
///
/// Every piece of work runs on [`Shutdown::tracker`]. A drain refuses new work at once, lets
/// running work finish within the grace time, then cuts it.
#[derive(Clone, Debug, Default)]
pub struct Shutdown(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    draining: CancellationToken,
    cut: CancellationToken,
    tracker: TaskTracker,
}

impl Shutdown {
    /// A process that is meant to go on.
    pub fn new() -> Self {
        Self::default()
    }

    /// Refuses new work from now on.
    pub fn begin(&self) {
        self.0.draining.cancel();
    }

    /// Whether new work is refused.
    pub fn is_draining(&self) -> bool {
        self.0.draining.is_cancelled()
    }

    /// Passes unless new work is refused. A drain waits for whoever passed.
    ///
    /// # Errors
    /// [`Failure::Draining`].
    pub fn admit(&self) -> Result<Admission, Failure> {
        // Counted before the question: a drain that begins in between waits for it.
        let admission = Admission { _token: self.0.tracker.token(), shutdown: self.clone() };
        if self.is_draining() { Err(Failure::Draining) } else { Ok(admission) }
    }

    /// Completes when new work is refused.
    pub fn draining(&self) -> impl Future<Output = ()> + Send + 'static {
        self.0.draining.clone().cancelled_owned()
    }

    /// Completes when running work must end.
    pub fn cut(&self) -> impl Future<Output = ()> + Send + 'static {
        self.0.cut.clone().cancelled_owned()
    }

    /// Where every piece of work is spawned.
    pub fn tracker(&self) -> &TaskTracker {
        &self.0.tracker
    }

    /// Drains: refuses new work, waits for what runs, and after `grace` cuts it. Gives the number
    /// of pieces that were cut.
    pub async fn drain(&self, grace: Duration) -> usize {
        self.begin();
        self.0.tracker.close();
        if tokio::time::timeout(grace, self.0.tracker.wait()).await.is_ok() {
            return 0;
        }
        let left = self.0.tracker.len();
        self.0.cut.cancel();
        // A caller that does not read is not waited for.
        let _ = tokio::time::timeout(FAREWELL, self.0.tracker.wait()).await;
        left
    }

    /// Begins a drain at the first interrupt or termination signal.
    ///
    /// # Errors
    /// When the operating system refuses to install the handlers.
    pub fn on_signals(&self) -> std::io::Result<()> {
        #[cfg(unix)]
        let mut terminate =
            tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        let draining = self.0.draining.clone();
        tokio::spawn(async move {
            #[cfg(unix)]
            let terminated = terminate.recv();
            #[cfg(not(unix))]
            let terminated = std::future::pending::<()>();
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminated => {}
                () = draining.cancelled() => {}
            }
            draining.cancel();
        });
        Ok(())
    }
}

/// A call that was admitted and is not at work yet: to be held until [`crate::respond`] was called.
#[derive(Debug)]
#[must_use = "a drain waits only as long as this is held"]
pub struct Admission {
    _token: TaskTrackerToken,
    shutdown: Shutdown,
}

impl Admission {
    /// Receives what the call is about, unless it outlasts a drain.
    ///
    /// # Errors
    /// Those of `receiving`; [`Failure::Draining`] when running work must end.
    pub async fn receive<T>(
        &self,
        receiving: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        tokio::select! {
            biased;
            () = self.shutdown.cut() => Err(Failure::Draining),
            received = receiving => received,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_drain_waits_for_running_work_and_refuses_new() {
        let shutdown = Shutdown::new();
        let (done, wait) = tokio::sync::oneshot::channel::<()>();
        shutdown.tracker().spawn(async move { wait.await.unwrap() });
        let draining = tokio::spawn({
            let shutdown = shutdown.clone();
            async move { shutdown.drain(Duration::from_secs(30)).await }
        });
        shutdown.draining().await;
        assert!(matches!(shutdown.admit(), Err(Failure::Draining)));
        assert!(!draining.is_finished());
        done.send(()).unwrap();
        assert_eq!(draining.await.unwrap(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_waits_for_a_call_that_is_still_received_and_cuts_it_in_the_end() {
        let shutdown = Shutdown::new();
        let admission = shutdown.admit().unwrap();
        let receiving = tokio::spawn(async move {
            admission.receive(std::future::pending::<Result<(), Failure>>()).await
        });
        assert_eq!(shutdown.drain(Duration::from_secs(30)).await, 1);
        assert!(matches!(receiving.await.unwrap(), Err(Failure::Draining)));
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_outlasts_the_grace_time_is_cut_and_counted() {
        let shutdown = Shutdown::new();
        shutdown.tracker().spawn(shutdown.cut());
        assert_eq!(shutdown.drain(Duration::from_secs(30)).await, 1);
    }
}
