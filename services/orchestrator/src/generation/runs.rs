use std::time::Duration;

use cogwheel_api::generation::v1::{Notice, Stage, generate_video_response::Event};
use cogwheel_service::Failure;
use cogwheel_service::metrics::{self, Waiting};

use super::Generation;
use crate::service::{Place, Replicas};

/// How often a stage is run for one piece of work whose replicas are lost on the way.
const MAX_RUNS: u32 = 3;
/// How often a full replica is come back to. Each time something has changed, or half a second has passed.
const MAX_FULL: u32 = 1000;

/// The runs of one stage for one piece of work. Stages are deterministic, so what one replica began another does again, to
/// the same result.
pub(super) struct Runs<'a> {
    generation: &'a Generation<'a>,
    index: u32,
    stage: Stage,
    replicas: &'a Replicas,
    /// Runs that were cut.
    cut: u32,
    full: u32,
    /// The position in a queue that the client was last told.
    told: Option<u32>,
    /// How long a replica has been waited for, if any was, however often one was full meanwhile.
    waited: Option<Duration>,
}

impl<'a> Generation<'a> {
    /// Runs for video `index`.
    pub(super) fn runs(&'a self, index: u32, stage: Stage, replicas: &'a Replicas) -> Runs<'a> {
        Runs { generation: self, index, stage, replicas, cut: 0, full: 0, told: None, waited: None }
    }
}

impl Runs<'_> {
    /// Where it runs next; `variant` is what is needed there.
    ///
    /// # Errors
    /// That no replica can be reached, or that the caller left.
    pub(super) async fn place(&mut self, variant: Option<&str>) -> Result<Place, Failure> {
        if let Some(place) = self.replicas.try_choose(variant) {
            return Ok(place);
        }
        let waiting = self.replicas.waiting();
        if waiting > 0 && self.told != Some(waiting) {
            self.told = Some(waiting);
            self.generation.queued(self.index, self.stage, waiting).await?;
        }
        let waits = Waiting::of("the orchestrator");
        let place = self.replicas.choose(variant).await?;
        *self.waited.get_or_insert_default() += waits.end();
        Ok(place)
    }

    /// Whether it is worth another run after this failure. What a replica refused because it is full or about to end goes
    /// to another, and what was cut is told to the client and done again.
    ///
    /// # Errors
    /// The failure, where it is another one or there were too many.
    pub(super) async fn after(&mut self, place: &Place, failure: Failure) -> Result<(), Failure> {
        if failure.is_full() && self.full < MAX_FULL {
            self.full += 1;
            place.set_full();
            return Ok(());
        }
        self.end_wait();
        let Some(status) = failure.lost() else { return Err(failure) };
        place.lose(status.clone());
        let (stage, address) = (self.replicas.stage(), place.address());
        tracing::warn!(stage, address, %failure, begun = place.has_begun(), "a call was lost");
        if !place.has_begun() {
            if !self.replicas.may_retry() {
                return Err(failure);
            }
            metrics::stage_retried(stage);
            return Ok(());
        }
        self.cut += 1;
        if self.cut == MAX_RUNS {
            return Err(failure);
        }
        metrics::stage_retried(stage);
        // Progress goes back.
        let message = format!("the {stage} was lost at its work, which is done again: {failure}");
        self.generation.tell(self.index, Event::Notice(Notice { message })).await
    }

    /// A replica took what had waited.
    fn end_wait(&mut self) {
        self.told = None;
        if let Some(waited) = self.waited.take() {
            metrics::waited("the orchestrator", waited);
        }
    }
}

impl Drop for Runs<'_> {
    fn drop(&mut self) {
        self.end_wait();
    }
}
