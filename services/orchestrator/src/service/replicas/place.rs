use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use tonic::Status;

use super::replica::{Health, Replica};

/// How long one that said it is full is left alone, unless it tells of itself before.
const FULL: Duration = Duration::from_millis(500);

/// A replica that is going to do, or does, a call of this process.
#[derive(Debug)]
pub(crate) struct Place {
    pub(super) replica: Arc<Replica>,
    heard: AtomicBool,
    /// Whether it is one of the calls that the replica counts.
    counted: AtomicBool,
}

impl Place {
    pub(crate) fn of(replica: &Arc<Replica>) -> Self {
        replica.state().calls += 1;
        Self {
            replica: Arc::clone(replica),
            heard: AtomicBool::default(),
            counted: AtomicBool::default(),
        }
    }

    /// The same replica for another call.
    pub(crate) fn renewed(&self) -> Self {
        Self::of(&self.replica)
    }

    /// Something was heard of the call.
    pub(in crate::service) fn hear(&self) {
        if !self.heard.swap(true, Ordering::Relaxed) {
            self.replica.state().losses = 0;
            if let Some(pool) = self.replica.pool.upgrade() {
                pool.budget.gain();
            }
        }
    }

    /// Something was heard of the call, which is one of those that the stage tells of.
    pub(in crate::service) fn hear_of_work(&self) {
        self.counted.store(true, Ordering::Relaxed);
        self.hear();
    }

    /// It has this variant in memory now, which it will tell in a moment.
    pub(crate) fn has_variant(&self, id: &str) {
        if let Some(told) = &mut self.replica.state().told
            && !told.variants.iter().any(|variant| variant == id)
        {
            told.variants.push(id.to_owned());
        }
    }

    /// Whether anything was heard of the call: else nothing of it was begun.
    pub(crate) fn has_begun(&self) -> bool {
        self.heard.load(Ordering::Relaxed)
    }

    /// The call was lost for this: the replica is left out until its health has been asked again.
    pub(crate) fn lose(&self, why: Status) {
        let mut state = self.replica.state();
        // Calls that were lost together are one loss, which whoever follows the replica hears of once.
        if state.health == Health::Down {
            return;
        }
        state.losses += 1;
        drop(state);
        self.replica.set_health(Health::Down, Some(why));
        self.replica.lost.notify_one();
    }

    /// It said that it is full: it is left alone for a moment.
    pub(crate) fn set_full(&self) {
        self.replica.state().full_until = Some(Instant::now() + FULL);
    }
}

impl Deref for Place {
    type Target = Replica;

    fn deref(&self) -> &Replica {
        &self.replica
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.replica.state();
        state.calls -= 1;
        // It tells so in a moment; until then it would count as busy with what has ended.
        if self.counted.load(Ordering::Relaxed)
            && let Some(told) = &mut state.told
        {
            told.admitted = told.admitted.saturating_sub(1);
        }
        drop(state);
        // Somebody may wait for it.
        self.replica.tell_change();
    }
}
