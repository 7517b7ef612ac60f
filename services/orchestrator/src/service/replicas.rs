//! The replicas of a stage, and which of them gets the next call.

mod budget;
mod follow;
mod place;
mod replica;
mod resolve;
mod score;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cogwheel_service::{Dialer, Failure};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::settings::{StageAddress, StagesArgs};
use budget::Budget;
pub(crate) use place::Place;
pub(crate) use replica::Replica;
use score::Candidate;

/// How often is looked again while nobody can take a call, beside upon every change.
const LOOK: Duration = Duration::from_millis(500);

/// The replicas of one stage. Each is followed: whether it serves, and how busy it is.
#[derive(Debug)]
pub(crate) struct Replicas {
    pool: Arc<Pool>,
    /// Whoever waits for a replica, in the order of coming.
    line: tokio::sync::Mutex<()>,
    patience: Duration,
    _resolving: Vec<AbortOnDropHandle<()>>,
}

/// What the replicas of a stage have in common.
#[derive(Debug)]
struct Pool {
    stage: &'static str,
    /// Where they are, as the settings say it.
    addresses: String,
    dialer: Dialer,
    list: Mutex<Vec<Arc<Replica>>>,
    /// How many there are of each address, those included that have left the list and still have calls.
    known: Mutex<HashMap<String, usize>>,
    /// Told whenever one may take a call that could not before.
    changed: watch::Sender<()>,
    budget: Budget,
    /// Where the search begins, so that equals take turns.
    turn: AtomicUsize,
    /// Since when none can be used.
    down_since: Mutex<Option<Instant>>,
}

impl Replicas {
    /// The replicas of the stage that messages call `stage`, at these addresses. Needs a runtime.
    pub(super) fn at(
        stage: &'static str,
        addresses: &[StageAddress],
        args: &StagesArgs,
        dialer: &Dialer,
    ) -> Self {
        let names: Vec<_> = addresses.iter().map(ToString::to_string).collect();
        let pool = Arc::new(Pool {
            stage,
            addresses: names.join(", "),
            dialer: dialer.clone(),
            list: Mutex::default(),
            known: Mutex::default(),
            changed: watch::Sender::new(()),
            budget: Budget::default(),
            turn: AtomicUsize::new(0),
            down_since: Mutex::default(),
        });
        let resolving = resolve::begin(&pool, addresses, Duration::from_secs(args.dns_seconds));
        let patience = Duration::from_secs(args.stage_patience_seconds);
        Self { pool, line: tokio::sync::Mutex::default(), patience, _resolving: resolving }
    }

    /// What the stage is called in messages.
    pub(crate) fn stage(&self) -> &'static str {
        self.pool.stage
    }

    /// The replica that will have done one more call first, where one may take it now and nobody waits; `variant` is what
    /// it had better have in memory.
    pub(crate) fn try_choose(&self, variant: Option<&str>) -> Option<Place> {
        let _line = self.line.try_lock().ok()?;
        self.pool.pick(variant)
    }

    /// The same, and waits until one may take it: as long as some are merely busy or loading, and for a patience where
    /// none can be reached.
    ///
    /// # Errors
    /// That none can be reached.
    ///
    /// # Cancel safety
    /// Dropping it gives up the place in the line.
    pub(crate) async fn choose(&self, variant: Option<&str>) -> Result<Place, Failure> {
        let _line = self.line.lock().await;
        let mut changed = self.pool.changed.subscribe();
        let mut asked: Option<Asked> = None;
        loop {
            changed.mark_unchanged();
            if let Some(place) = self.pool.pick(variant) {
                return Ok(place);
            }
            let mut left = LOOK;
            if let Some(down) = self.pool.down() {
                // What was known may lie back: nothing is given up before each was asked anew.
                let have_answered = asked.get_or_insert_with(|| self.pool.ask()).have_missed();
                if have_answered && down >= self.patience {
                    return Err(self.pool.unreachable());
                }
                if have_answered {
                    left = left.min(self.patience - down);
                }
            }
            // The sender lives as long as `self`.
            let _ = tokio::time::timeout(left, changed.changed()).await;
        }
    }

    /// Calls that run or wait in all replicas.
    pub(crate) fn waiting(&self) -> u32 {
        let calls = self.pool.list().iter().map(|replica| replica.calls()).sum::<usize>();
        u32::try_from(calls).unwrap_or(u32::MAX)
    }

    /// Whether a failed call, of which nothing was heard, may be made again now: where much fails, calls are not
    /// multiplied.
    pub(crate) fn may_retry(&self) -> bool {
        self.pool.budget.take()
    }

    /// Waits until one serves.
    pub(super) async fn serves(&self) {
        let mut changed = self.pool.changed.subscribe();
        loop {
            changed.mark_unchanged();
            if self.serving().next().is_some() {
                return;
            }
            let _ = changed.changed().await;
        }
    }

    /// Those that serve now.
    pub(crate) fn serving(&self) -> impl Iterator<Item = Arc<Replica>> + use<> {
        let list = self.pool.list().clone();
        list.into_iter().filter(|replica| replica.is_serving())
    }

    /// Told whenever more may serve than before.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.pool.changed.subscribe()
    }
}

/// Replicas that were asked again whether they serve, and how often they had been missed before.
struct Asked(Vec<(Arc<Replica>, u64)>);

impl Asked {
    /// Whether none could be reached since.
    fn have_missed(&self) -> bool {
        self.0.iter().all(|(replica, before)| replica.misses() > *before)
    }
}

impl Pool {
    /// Has those that are down asked again at once.
    fn ask(&self) -> Asked {
        let list = self.list().clone();
        let asked = list.into_iter().map(|replica| {
            replica.wanted.notify_one();
            let before = replica.misses();
            (replica, before)
        });
        Asked(asked.collect())
    }

    /// How many replicas of this address there are, of which one comes or goes.
    fn count(&self, address: &str, change: isize) -> usize {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let count = known.entry(address.to_owned()).or_default();
        *count = count.saturating_add_signed(change);
        let now = *count;
        if now == 0 {
            known.remove(address);
        }
        now
    }

    fn list(&self) -> MutexGuard<'_, Vec<Arc<Replica>>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell_change(&self) {
        let _ = self.down();
        self.changed.send_replace(());
    }

    fn pick(&self, variant: Option<&str>) -> Option<Place> {
        let list = self.list();
        let mut candidates: Vec<_> = list.iter().map(|replica| replica.candidate()).collect();
        // Behind one address may be many, and what one of them tells does not hold for the others.
        if let [only] = &mut candidates[..] {
            only.told = None;
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let index = score::first(&candidates, variant, turn)?;
        Some(Place::of(&list[index]))
    }

    /// For how long none could be used; `None` where one can be, or may turn out to.
    fn down(&self) -> Option<Duration> {
        let list = self.list();
        let is_down = list.iter().all(|replica| replica.is_down());
        let mut since = self.down_since.lock().unwrap_or_else(PoisonError::into_inner);
        if !is_down {
            *since = None;
            return None;
        }
        Some(since.get_or_insert_with(Instant::now).elapsed())
    }

    /// None can be reached.
    fn unreachable(&self) -> Failure {
        let list = self.list();
        match &list[..] {
            [] => Failure::Unavailable(format!(
                "{}: {} stands for no address",
                self.stage, self.addresses
            )),
            [only] => only.unreachable(),
            [.., last] => {
                let (stage, count, last) = (self.stage, list.len(), last.unreachable());
                Failure::Unavailable(format!(
                    "{stage}: none of {count} replicas can be reached; {last}"
                ))
            }
        }
    }
}

#[cfg(test)]
mod tests;
