use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use cogwheel_api::TensorInbox;
use cogwheel_api::stage::v1::WatchStatusResponse;
use cogwheel_api::tensor::v1::TensorPart;
use cogwheel_service::{Address, Failure, Link, metrics};
use cogwheel_tensor::{DType, Tensor};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use tonic::Status;
use tracing::Instrument as _;

use super::score::Rank;
use super::{Candidate, Pool, follow};

/// One replica: its channel, and what is known of it.
#[derive(Debug)]
pub(crate) struct Replica {
    pub(super) pool: Weak<Pool>,
    stage: &'static str,
    address: String,
    channel: Link,
    state: Mutex<State>,
    /// Held by whoever hands it an adapter. Others that need the same one find it there after that, and send nothing.
    pub(in crate::service) handing: tokio::sync::Mutex<()>,
    /// Told when a call was lost, so that its health is asked anew.
    pub(super) lost: Arc<Notify>,
    /// Told when somebody wants it while it is down, so that it is not left alone any longer.
    pub(super) wanted: Arc<Notify>,
    following: OnceLock<AbortOnDropHandle<()>>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) health: Health,
    pub(super) told: Option<WatchStatusResponse>,
    /// Calls that this process has there.
    pub(super) calls: usize,
    pub(super) full_until: Option<Instant>,
    /// Calls that were lost since one was answered.
    pub(super) losses: u32,
    /// How often it has come up.
    ups: u64,
    /// How often it could not be reached.
    misses: u64,
    /// Why it was last out of reach.
    why: Option<Status>,
}

/// What a replica's health says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    /// It has not been asked yet.
    Unknown,
    /// It can be reached and does not serve yet.
    Loading,
    Serving,
    /// It cannot be reached, is about to end, or has lost a call.
    Down,
}

impl Replica {
    /// A replica that is followed as long as somebody has it.
    pub(super) fn begin(pool: &Arc<Pool>, address: &Address) -> Arc<Self> {
        let replica = Arc::new(Self {
            pool: Arc::downgrade(pool),
            stage: pool.stage,
            address: address.to_string(),
            channel: pool.dialer.connect(address),
            state: Mutex::new(State {
                health: Health::Unknown,
                told: None,
                calls: 0,
                full_until: None,
                losses: 0,
                ups: 0,
                misses: 0,
                why: None,
            }),
            handing: tokio::sync::Mutex::default(),
            lost: Arc::default(),
            wanted: Arc::default(),
            following: OnceLock::new(),
        });
        pool.count(&replica.address, 1);
        metrics::replica(replica.stage, &replica.address, Some(false));
        let span = tracing::info_span!("replica", service = "orchestrator");
        let following = follow::follow(Arc::downgrade(&replica)).instrument(span);
        let following = tokio::spawn(following);
        let _ = replica.following.set(AbortOnDropHandle::new(following));
        replica
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(in crate::service) fn channel(&self) -> Link {
        self.channel.clone()
    }

    /// What the stage answered.
    pub(in crate::service) fn failure(&self, status: Status) -> Failure {
        Failure::of_stage(self.stage, &self.address, status)
    }

    /// The stage broke the contract.
    pub(in crate::service) fn broken(&self, what: &impl std::fmt::Display) -> Failure {
        Failure::Internal(format!("{}: {what}", self.stage))
    }

    /// Takes the next part; gives the tensor when it is complete and of this shape.
    pub(in crate::service) fn receive(
        &self,
        inbox: &mut TensorInbox,
        part: TensorPart,
        shape: &[usize],
    ) -> Result<Option<Tensor>, Failure> {
        let complete = inbox.push(part).map_err(|error| self.broken(&error))?;
        let Some(tensor) = complete.and_then(|name| inbox.take(&name)) else { return Ok(None) };
        if tensor.dtype() == DType::F32 && tensor.shape() == shape {
            return Ok(Some(tensor));
        }
        let found = format!("{} {:?}", tensor.dtype(), tensor.shape());
        Err(self.broken(&format!("expected a tensor of {shape:?} in F32, found {found}")))
    }

    pub(crate) fn is_serving(&self) -> bool {
        self.state().health == Health::Serving
    }

    /// It could not be reached when it was asked.
    pub(super) fn miss(&self, why: Status) {
        self.state().misses += 1;
        self.set_health(Health::Down, Some(why));
    }

    pub(super) fn misses(&self) -> u64 {
        self.state().misses
    }

    /// How often it has come up: another number, and it may be another process.
    pub(crate) fn ups(&self) -> u64 {
        self.state().ups
    }

    pub(super) fn is_down(&self) -> bool {
        self.state().health == Health::Down
    }

    pub(super) fn unreachable(&self) -> Failure {
        let why = self.state().why.clone();
        self.failure(why.unwrap_or_else(|| Status::unavailable("it does not serve")))
    }

    /// Calls that it has, of this process or as it told.
    pub(super) fn calls(&self) -> usize {
        let state = self.state();
        state.calls.max(state.told.as_ref().map_or(0, |told| told.admitted as usize))
    }

    pub(super) fn candidate(&self) -> Candidate {
        let state = self.state();
        let is_full = state.full_until.is_some_and(|until| Instant::now() < until);
        let rank = match state.health {
            _ if is_full => Rank::Out,
            Health::Serving => Rank::Serving,
            Health::Loading => Rank::Loading,
            Health::Unknown | Health::Down => Rank::Out,
        };
        Candidate { rank, own: state.calls, told: state.told.clone() }
    }

    /// What its health says now, and where it is down why.
    pub(super) fn set_health(&self, health: Health, why: Option<Status>) {
        let mut state = self.state();
        if health == Health::Serving && state.health != Health::Serving {
            state.ups += 1;
        }
        if state.health != health {
            let (stage, address) = (self.stage, &self.address);
            tracing::info!(
                stage,
                address,
                ?health,
                why = why.as_ref().map(Status::message),
                "replica"
            );
        }
        state.health = health;
        metrics::replica(self.stage, &self.address, Some(health == Health::Serving));
        if health == Health::Down {
            state.told = None;
            state.why = why.or(state.why.take());
        }
        drop(state);
        self.tell_change();
    }

    /// What it tells of itself.
    pub(super) fn set_told(&self, told: Option<WatchStatusResponse>) {
        let mut state = self.state();
        state.told = told;
        state.full_until = None;
        drop(state);
        self.tell_change();
    }

    /// How long it is left alone: the longer the more calls it lost one after the other.
    pub(super) fn pause(&self, first: Duration, most: Duration) -> Duration {
        let doubled = self.state().losses.saturating_sub(1).min(16);
        first.saturating_mul(1 << doubled).min(most)
    }

    pub(super) fn tell_change(&self) {
        if let Some(pool) = self.pool.upgrade() {
            pool.tell_change();
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        // One that left and came back while this one had a call still has its metric.
        if self.pool.upgrade().is_none_or(|pool| pool.count(&self.address, -1) == 0) {
            metrics::replica(self.stage, &self.address, None);
        }
    }
}
