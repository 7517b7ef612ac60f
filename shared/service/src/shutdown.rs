use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::{Health, Signals};

/// How long work that was cut may take to say so to its callers.
const FAREWELL: Duration = Duration::from_secs(2);

/// The end of a process, in two moments: no new work, then no work at all.
///
/// Every call is counted by [`Shutdown::tracker`]. A drain refuses new work at once, lets
/// running work finish within the grace time, then cuts it.
#[derive(Clone, Debug, Default)]
pub struct Shutdown(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    draining: CancellationToken,
    cut: CancellationToken,
    tracker: TaskTracker,
    health: Health,
}

impl Shutdown {
    /// A process that is meant to go on.
    pub fn new() -> Self {
        Self::default()
    }

    /// An end of its own for another server of the same process, which has one health.
    #[must_use]
    pub fn beside(&self) -> Self {
        Self(Arc::new(Inner { health: self.health().clone(), ..Inner::default() }))
    }

    /// What the process says of itself.
    pub fn health(&self) -> &Health {
        &self.0.health
    }

    /// Refuses new work from now on.
    pub fn begin(&self) {
        self.0.draining.cancel();
    }

    /// Whether new work is refused.
    pub fn is_draining(&self) -> bool {
        self.0.draining.is_cancelled()
    }

    /// Completes when new work is refused.
    pub fn draining(&self) -> impl Future<Output = ()> + Send + 'static {
        self.0.draining.clone().cancelled_owned()
    }

    /// Completes when running work must end.
    pub fn cut(&self) -> impl Future<Output = ()> + Send + 'static {
        self.0.cut.clone().cancelled_owned()
    }

    /// What counts every call from its first byte to its last.
    pub fn tracker(&self) -> &TaskTracker {
        &self.0.tracker
    }

    /// Drains: refuses new work, waits for what runs, and after `grace` cuts it. Gives the number
    /// of pieces that were cut.
    pub async fn drain(&self, grace: Duration) -> usize {
        self.begin();
        self.0.tracker.close();
        tokio::select! {
            () = self.0.tracker.wait() => return 0,
            () = tokio::time::sleep(grace) => {}
            // A second signal.
            () = self.cut() => {}
        }
        let left = self.0.tracker.len();
        self.0.cut.cancel();
        // A caller that does not read is not waited for.
        let _ = tokio::time::timeout(FAREWELL, self.0.tracker.wait()).await;
        left
    }

    /// Begins a drain at the first interrupt or termination signal; a second one cuts what runs.
    ///
    /// # Errors
    /// When the operating system refuses to install the handlers.
    pub fn on_signals(&self) -> std::io::Result<()> {
        let mut signals = Signals::new()?;
        let shutdown = self.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = signals.next() => {}
                () = shutdown.draining() => {}
            }
            shutdown.begin();
            signals.next().await;
            shutdown.0.cut.cancel();
        });
        Ok(())
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
        assert!(shutdown.is_draining());
        assert!(!draining.is_finished());
        done.send(()).unwrap();
        assert_eq!(draining.await.unwrap(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_outlasts_the_grace_time_is_cut_and_counted() {
        let shutdown = Shutdown::new();
        shutdown.tracker().spawn(shutdown.cut());
        assert_eq!(shutdown.drain(Duration::from_secs(30)).await, 1);
    }
}
