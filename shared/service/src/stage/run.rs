use std::time::Duration;

use cogwheel_engine::{JobContext, JobError, SubmitError, Worker};
use tokio::sync::mpsc;

use crate::metrics::{self, Rejected, Waiting};
use crate::{Failure, Responder};

/// Events of a running job that wait to be sent. Few, because an event may hold a whole chunk of
/// frames; the job waits when its caller does not read.
const EVENTS: usize = 2;

/// How long the end of a process waits for the model's thread, which stops within an operator.
const FAREWELL: Duration = Duration::from_secs(2);

/// Where a running job puts its events, from the model's own thread.
#[derive(Debug)]
pub struct Events<T>(mpsc::Sender<T>);

impl<T> Events<T> {
    /// Sends an event, waiting while the caller has not read the ones before it. Whether anybody
    /// is still there.
    pub fn send(&self, event: T) -> bool {
        self.0.blocking_send(event).is_ok()
    }
}

/// Where a job waits for its turn.
#[derive(Clone, Copy, Debug)]
pub struct Queue {
    /// What messages call the stage.
    stage: &'static str,
    /// What its caller has waited before.
    waited: Duration,
}

impl Queue {
    /// That of a stage, for whoever has waited elsewhere before.
    pub fn after(waited: Duration, stage: &'static str) -> Self {
        Self { stage, waited }
    }
}

impl From<&'static str> for Queue {
    fn from(stage: &'static str) -> Self {
        Self::after(Duration::ZERO, stage)
    }
}

/// Runs `job` on the stage's worker and sends what happens meanwhile: how many requests are ahead
/// (as `queued` makes it), then the job's own events in their order.
///
/// # Errors
/// What keeps the job from running, or what the job gives.
///
/// # Cancel safety
/// Dropping it withdraws the job: one that waits never runs, one that runs stops within an operator.
pub async fn run_on<M, R, T, E>(
    worker: &Worker<M>,
    queue: impl Into<Queue>,
    responder: &Responder<T>,
    queued: impl Fn(u32) -> T,
    job: impl FnOnce(&mut M, &JobContext, &Events<T>) -> Result<R, E> + Send + 'static,
) -> Result<R, Failure>
where
    M: 'static,
    R: Send + 'static,
    T: Send + 'static,
    E: Into<Failure> + Send + 'static,
{
    let (sender, mut events) = mpsc::channel(EVENTS);
    let Queue { stage, waited } = queue.into();
    let waiting = Waiting::of(stage);
    let job = move |model: &mut M, context: &JobContext| {
        waiting.begin(waited);
        job(model, context, &Events(sender))
    };
    let mut ticket = worker.submit(job).map_err(|error| refused(stage, error))?;
    let mut ahead = ticket.ahead();
    let mut told = None;
    loop {
        let position = u32::try_from(*ahead.borrow_and_update()).unwrap_or(u32::MAX);
        if position > 0 && told != Some(position) {
            told = Some(position);
            responder.send(queued(position)).await?;
        }
        tokio::select! {
            biased;
            Some(event) = events.recv() => responder.send(event).await?,
            Ok(()) = ahead.changed() => {}
            outcome = &mut ticket => {
                while let Some(event) = events.recv().await {
                    responder.send(event).await?;
                }
                return match outcome {
                    Ok(result) => result.map_err(Into::into),
                    Err(error) => Err(lost(error)),
                };
            }
        }
    }
}

/// Waits a little for a worker to end. One that loads a model cannot be stopped in the middle: the
/// process leaves without it, see [`crate::leave`].
pub async fn end<M: 'static>(worker: &Worker<M>) {
    if tokio::time::timeout(FAREWELL, worker.shutdown()).await.is_err() {
        tracing::warn!("the model's thread is left in mid-work");
    }
}

fn refused(stage: &'static str, error: SubmitError) -> Failure {
    match error {
        SubmitError::QueueFull { depth } => {
            metrics::rejected(metrics::label(stage), Rejected::Full);
            Failure::Full { what: stage, limit: depth }
        }
        SubmitError::Stopped => Failure::Draining,
    }
}

fn lost(error: JobError) -> Failure {
    match error {
        JobError::Load(message) => Failure::Unfit(message),
        JobError::Stopped => Failure::Draining,
        JobError::Panicked(_) => Failure::Internal(error.to_string()),
    }
}
