use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tonic::metadata::MetadataMap;

use crate::deadline::deadline_of;
use crate::metrics::{self, Cancelled, Rejected};
use crate::{Failure, Shutdown};

/// Lets calls into a service: so many at once, from their first byte up to their last byte down,
/// and none once a drain has begun.
#[derive(Clone, Debug)]
pub struct Gate {
    what: &'static str,
    limit: usize,
    admitted: Arc<watch::Sender<usize>>,
    shutdown: Shutdown,
}

impl Gate {
    /// A gate for `limit` calls of the service that messages call `what`.
    pub fn new(what: &'static str, limit: usize, shutdown: &Shutdown) -> Self {
        let admitted = Arc::new(watch::Sender::new(0));
        Self { what, limit, admitted, shutdown: shutdown.clone() }
    }

    /// Admits a call before anything of it is received.
    ///
    /// # Errors
    /// [`Failure::Draining`], or [`Failure::Full`] when as many are in as may be.
    pub fn admit(&self, headers: &MetadataMap) -> Result<Call, Failure> {
        let timeout = deadline_of(headers);
        // A deadline beyond the clock's range is none.
        let ends = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let token = self.shutdown.tracker().token();
        // Counted before the question: a drain that begins in between waits for it.
        if self.shutdown.is_draining() {
            metrics::rejected(metrics::label(self.what), Rejected::Draining);
            return Err(Failure::Draining);
        }
        let has_place = self.admitted.send_if_modified(|admitted| {
            let has_place = *admitted < self.limit;
            *admitted += usize::from(has_place);
            has_place
        });
        if !has_place {
            metrics::rejected(metrics::label(self.what), Rejected::Full);
            return Err(Failure::Full { what: self.what, limit: self.limit });
        }
        let held = Held { _token: token, admitted: Arc::clone(&self.admitted) };
        let service = metrics::label(self.what);
        Ok(Call { service, deadline: ends, shutdown: self.shutdown.clone(), held })
    }

    /// Calls that are in.
    pub fn admitted(&self) -> usize {
        *self.admitted.borrow()
    }

    /// The same, and every change of it.
    pub fn watch(&self) -> watch::Receiver<usize> {
        self.admitted.subscribe()
    }

    /// As many may be in.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// The end of the process, upon which nobody is let in.
    pub fn shutdown(&self) -> &Shutdown {
        &self.shutdown
    }
}

/// A call that was admitted; [`Call::respond`] answers it.
#[derive(Debug)]
pub struct Call {
    /// Its label in metrics.
    pub(crate) service: &'static str,
    pub(crate) deadline: Option<Instant>,
    pub(crate) shutdown: Shutdown,
    pub(crate) held: Held,
}

/// What a call holds until its last byte is read: its place, and the drain that waits for it.
#[derive(Debug)]
pub(crate) struct Held {
    _token: TaskTrackerToken,
    admitted: Arc<watch::Sender<usize>>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.admitted.send_modify(|admitted| *admitted -= 1);
    }
}

impl Call {
    /// Receives what the call is about.
    ///
    /// # Errors
    /// Those of `receiving`; [`Failure::Draining`] when running work must end;
    /// [`Failure::Deadline`] when the caller stopped waiting.
    pub async fn receive<T>(
        &self,
        receiving: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let received = tokio::select! {
            biased;
            () = self.shutdown.cut() => Err(Failure::Draining),
            () = passed(self.deadline) => Err(Failure::Deadline),
            received = receiving => received,
        };
        received.inspect_err(|failure| cut(self.service, failure))
    }

    /// When the caller stops waiting, if it said so.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }
}

/// Counts a call that this process cuts; what its client or the deadline does is seen where it ends.
pub(crate) fn cut(service: &'static str, failure: &Failure) {
    match failure {
        Failure::Draining => metrics::cancelled(service, Cancelled::Drain),
        Failure::Stalled(_) => metrics::cancelled(service, Cancelled::Stalled),
        _ => {}
    }
}

/// Completes when a deadline has passed; never without one.
pub(crate) async fn passed(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn no_more_calls_are_let_in_than_may_be() {
        let gate = Gate::new("the denoiser", 2, &Shutdown::new());
        let headers = MetadataMap::new();
        let (first, _second) = (gate.admit(&headers).unwrap(), gate.admit(&headers).unwrap());
        assert!(matches!(gate.admit(&headers), Err(Failure::Full { limit: 2, .. })));
        assert_eq!(gate.admitted(), 2);
        drop(first);
        assert!(gate.admit(&headers).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_waits_for_a_call_that_is_still_received_and_cuts_it_in_the_end() {
        let shutdown = Shutdown::new();
        let gate = Gate::new("the vae", 1, &shutdown);
        let call = gate.admit(&MetadataMap::new()).unwrap();
        let receiving = tokio::spawn(async move {
            call.receive(std::future::pending::<Result<(), Failure>>()).await
        });
        assert_eq!(shutdown.drain(Duration::from_secs(30)).await, 1);
        assert!(matches!(receiving.await.unwrap(), Err(Failure::Draining)));
        assert!(matches!(gate.admit(&MetadataMap::new()), Err(Failure::Draining)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_counts_from_the_calls_beginning() {
        let gate = Gate::new("the vae", 1, &Shutdown::new());
        let mut headers = MetadataMap::new();
        headers.insert("grpc-timeout", "3S".parse().unwrap());
        let call = gate.admit(&headers).unwrap();
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(call.deadline(), Some(Instant::now() + Duration::from_secs(1)));
        let received = call.receive(std::future::pending::<Result<(), Failure>>()).await;
        assert!(matches!(received, Err(Failure::Deadline)));
    }
}
