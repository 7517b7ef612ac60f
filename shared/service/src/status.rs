use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use cogwheel_api::stage::v1::stage_service_server::{StageService, StageServiceServer};
use cogwheel_api::stage::v1::{WatchStatusRequest, WatchStatusResponse};
use cogwheel_engine::Worker;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::{Failure, Gate};

/// Full gRPC name of the service that tells how busy a stage is.
pub(crate) const STATUS_SERVICE: &str = "cogwheel.stage.v1.StageService";

/// Who may watch at once: the orchestrators of a cluster and some more.
const MAX_WATCHERS: usize = 64;
/// The least time from one status to the next, so that a busy stage is not busy with telling it.
const PAUSE: Duration = Duration::from_millis(20);
/// How often is looked for what changes without a call: variants that are made ahead.
const LOOK: Duration = Duration::from_secs(1);

/// Tells whoever watches how busy a stage is.
#[derive(Clone)]
pub struct StageStatus {
    gate: Gate,
    job_seconds: Arc<dyn Fn() -> f64 + Send + Sync>,
    variants: Arc<dyn Fn() -> (Vec<String>, Duration) + Send + Sync>,
    watchers: Arc<Semaphore>,
}

impl fmt::Debug for StageStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StageStatus").field("gate", &self.gate).finish_non_exhaustive()
    }
}

impl StageStatus {
    /// Of a stage whose calls come through this gate and are worked on there.
    pub fn of<M: 'static>(gate: &Gate, worker: &Arc<Worker<M>>) -> Self {
        // The process ends when the worker does, whoever watches.
        let worker = Arc::downgrade(worker);
        let pace = move || worker.upgrade().map_or(Duration::ZERO, |worker| worker.pace());
        Self::new(gate, move || pace().as_secs_f64())
    }

    fn new(gate: &Gate, job_seconds: impl Fn() -> f64 + Send + Sync + 'static) -> Self {
        Self {
            gate: gate.clone(),
            job_seconds: Arc::new(job_seconds),
            variants: Arc::new(|| (Vec::new(), Duration::ZERO)),
            watchers: Arc::new(Semaphore::new(MAX_WATCHERS)),
        }
    }

    /// The same of a stage that has variants of these ids in memory, and took so long to make one.
    #[must_use]
    pub fn with_variants(
        self,
        variants: impl Fn() -> (Vec<String>, Duration) + Send + Sync + 'static,
    ) -> Self {
        Self { variants: Arc::new(variants), ..self }
    }

    /// The service.
    pub fn service(self) -> StageServiceServer<impl StageService> {
        StageServiceServer::new(self)
    }

    fn now(&self) -> WatchStatusResponse {
        let count = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
        let (variants, pace) = (self.variants)();
        WatchStatusResponse {
            admitted: count(self.gate.admitted()),
            admissible: count(self.gate.limit()),
            job_seconds: (self.job_seconds)(),
            variants,
            variant_seconds: pace.as_secs_f64(),
            draining: self.gate.shutdown().is_draining(),
        }
    }

    /// Sends every change until nobody listens or a drain has been told.
    async fn tell(
        self,
        sender: mpsc::Sender<Result<WatchStatusResponse, Status>>,
        _watching: OwnedSemaphorePermit,
    ) {
        let mut admitted = self.gate.watch();
        let mut told = None;
        loop {
            admitted.mark_unchanged();
            let now = self.now();
            let draining = now.draining;
            if told.as_ref() != Some(&now) {
                if sender.send(Ok(now.clone())).await.is_err() {
                    return;
                }
                told = Some(now);
            }
            if draining {
                return;
            }
            tokio::select! {
                () = sender.closed() => return,
                () = self.gate.shutdown().draining() => {}
                () = tokio::time::sleep(LOOK) => {}
                changed = admitted.changed() => if changed.is_ok() {
                    tokio::time::sleep(PAUSE).await;
                },
            }
        }
    }
}

#[tonic::async_trait]
impl StageService for StageStatus {
    type WatchStatusStream = ReceiverStream<Result<WatchStatusResponse, Status>>;

    async fn watch_status(
        &self,
        _: Request<WatchStatusRequest>,
    ) -> Result<Response<Self::WatchStatusStream>, Status> {
        let watching = Arc::clone(&self.watchers).try_acquire_owned();
        let full = Failure::Full { what: "the list of watchers", limit: MAX_WATCHERS };
        let watching = watching.map_err(|_| full)?;
        let (sender, statuses) = mpsc::channel(1);
        tokio::spawn(self.clone().tell(sender, watching));
        Ok(Response::new(ReceiverStream::new(statuses)))
    }
}

#[cfg(test)]
mod tests {
    use tokio_stream::StreamExt as _;
    use tonic::metadata::MetadataMap;

    use super::*;
    use crate::Shutdown;

    async fn watch(
        status: &StageStatus,
    ) -> Result<ReceiverStream<Result<WatchStatusResponse, Status>>, Status> {
        let response = status.watch_status(Request::new(WatchStatusRequest {})).await?;
        Ok(response.into_inner())
    }

    #[tokio::test(start_paused = true)]
    async fn calls_variants_and_a_drain_are_told_as_they_come() {
        let shutdown = Shutdown::new();
        let gate = Gate::new("the test", 3, &shutdown);
        let made = Arc::new(std::sync::Mutex::new(Vec::new()));
        let variants = Arc::clone(&made);
        let status = StageStatus::new(&gate, || 2.5)
            .with_variants(move || (variants.lock().unwrap().clone(), Duration::from_secs(4)));
        let mut told = watch(&status).await.unwrap();

        let first = told.next().await.unwrap().unwrap();
        assert_eq!((first.admitted, first.admissible, first.job_seconds), (0, 3, 2.5));
        let call = gate.admit(&MetadataMap::new()).unwrap();
        assert_eq!(told.next().await.unwrap().unwrap().admitted, 1);
        drop(call);
        assert_eq!(told.next().await.unwrap().unwrap().admitted, 0);
        made.lock().unwrap().push("ab".to_owned());
        let next = told.next().await.unwrap().unwrap();
        assert_eq!((next.variants, next.variant_seconds), (vec!["ab".to_owned()], 4.0));
        shutdown.begin();
        assert!(told.next().await.unwrap().unwrap().draining);
        assert!(told.next().await.is_none());
    }

    #[tokio::test]
    async fn watchers_are_bounded_and_those_who_leave_make_room() {
        let status = StageStatus::new(&Gate::new("the test", 1, &Shutdown::new()), || 0.0);
        let mut watchers = Vec::new();
        for _ in 0..MAX_WATCHERS {
            watchers.push(watch(&status).await.unwrap());
        }
        let refused = watch(&status).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
        drop(watchers);
        while status.watchers.available_permits() < MAX_WATCHERS {
            tokio::task::yield_now().await;
        }
        watch(&status).await.unwrap();
    }
}
