use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::stall::STALL;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The connections of a listener: so many at once, and none that does nothing for long.
#[derive(Debug)]
pub(crate) struct Connections {
    limit: usize,
    idle: Duration,
    open: Mutex<HashMap<u64, Arc<Activity>>>,
    next: AtomicU64,
}

impl Connections {
    pub(crate) fn new(limit: usize, idle: Duration) -> Arc<Self> {
        Arc::new(Self { limit, idle, open: Mutex::default(), next: AtomicU64::new(0) })
    }

    /// A place for a connection. Where all are taken it gets that of the one which has been without work the longest,
    /// which is closed; `None` where each has some.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<Place> {
        let mut open = self.open();
        if open.len() >= self.limit {
            let resting = open.iter().filter_map(|(&id, it)| Some((it.without_work_since()?, id)));
            let (_, id) = resting.min()?;
            if let Some(closed) = open.remove(&id) {
                closed.close.cancel();
            }
        }
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let activity = Arc::new(Activity::new());
        open.insert(id, Arc::clone(&activity));
        Some(Place { id, activity, of: Arc::clone(self) })
    }

    /// Closes those that have been without a call for too long.
    pub(crate) fn close_idle(&self) {
        let now = Instant::now();
        for activity in self.open().values() {
            let resting = activity.resting_since().map(|since| now.duration_since(since));
            if resting.is_some_and(|resting| resting >= self.idle) {
                activity.close.cancel();
            }
        }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<u64, Arc<Activity>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of one connection, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    id: u64,
    activity: Arc<Activity>,
    of: Arc<Connections>,
}

impl Place {
    pub(crate) fn activity(&self) -> Arc<Activity> {
        Arc::clone(&self.activity)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.of.open().remove(&self.id);
    }
}

/// What a connection does.
#[derive(Debug)]
pub(crate) struct Activity {
    calls: Mutex<Calls>,
    /// Tells it to close.
    close: CancellationToken,
}

#[derive(Debug)]
struct Calls {
    running: HashMap<u64, State>,
    next: u64,
    /// When the last one ended.
    ended: Instant,
    /// When the last one that was work ended.
    worked: Instant,
}

/// Of a running call.
#[derive(Clone, Copy, Debug)]
struct State {
    /// Whether only a caller with a role may make it.
    is_work: bool,
    /// Since when its reader takes nothing of what there is.
    unread_since: Option<Instant>,
}

impl State {
    fn stands_still(&self) -> bool {
        self.unread_since.is_some_and(|since| since.elapsed() >= STALL)
    }
}

impl Activity {
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        let calls = Calls { running: HashMap::new(), next: 0, ended: now, worked: now };
        Self { calls: Mutex::new(calls), close: CancellationToken::new() }
    }

    /// A call has begun, which is work or a question that everybody may ask; it runs until what is given is dropped.
    pub(crate) fn begin(self: &Arc<Self>, is_work: bool) -> RunningCall {
        let mut calls = self.calls();
        let id = calls.next;
        calls.next += 1;
        calls.running.insert(id, State { is_work, unread_since: None });
        drop(calls);
        RunningCall { activity: Arc::clone(self), id }
    }

    /// What tells the connection to close.
    pub(crate) fn close(&self) -> &CancellationToken {
        &self.close
    }

    /// Since when there is no call, but for those that stand still.
    fn resting_since(&self) -> Option<Instant> {
        let calls = self.calls();
        calls.running.values().all(State::stands_still).then_some(calls.ended)
    }

    /// Since when there is no work.
    fn without_work_since(&self) -> Option<Instant> {
        let calls = self.calls();
        let none = calls.running.values().all(|call| !call.is_work || call.stands_still());
        none.then_some(calls.worked)
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps a connection from counting as idle.
#[derive(Debug)]
pub(crate) struct RunningCall {
    activity: Arc<Activity>,
    id: u64,
}

impl RunningCall {
    /// There is something of its answer, or there is not; if there is, it is the reader's turn.
    pub(crate) fn is_the_readers_turn(&self, is: bool) {
        if let Some(state) = self.activity.calls().running.get_mut(&self.id) {
            state.unread_since = is.then(Instant::now);
        }
    }
}

impl Drop for RunningCall {
    fn drop(&mut self) {
        let mut calls = self.activity.calls();
        calls.ended = Instant::now();
        if calls.running.remove(&self.id).is_some_and(|call| call.is_work) {
            calls.worked = calls.ended;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_secs(300);

    #[tokio::test(start_paused = true)]
    async fn the_one_without_a_call_the_longest_makes_room() {
        let connections = Connections::new(2, IDLE);
        let first = connections.enter().unwrap();
        tokio::time::advance(Duration::from_secs(1)).await;
        let second = connections.enter().unwrap();
        let call = first.activity().begin(true);
        let third = connections.enter().unwrap();
        assert!(second.activity().close().is_cancelled());
        assert!(!first.activity().close().is_cancelled());
        let _call = third.activity().begin(true);
        assert!(connections.enter().is_none(), "all have calls");
        drop(call);
        assert!(connections.enter().is_some());
        assert!(first.activity().close().is_cancelled());
        // A place that was taken away is nobody's to give back.
        drop(first);
        assert_eq!(connections.open().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn questions_keep_a_connection_from_resting_but_no_place_from_others() {
        let connections = Connections::new(2, IDLE);
        let (asking, working) = (connections.enter().unwrap(), connections.enter().unwrap());
        let _calls = (asking.activity().begin(false), working.activity().begin(true));
        tokio::time::advance(IDLE).await;
        connections.close_idle();
        assert!(!asking.activity().close().is_cancelled());
        let _third = connections.enter().unwrap();
        assert!(asking.activity().close().is_cancelled());
        assert!(!working.activity().close().is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_whose_reader_takes_nothing_keeps_its_connection_no_longer() {
        let connections = Connections::new(1, IDLE);
        let slow = connections.enter().unwrap();
        let call = slow.activity().begin(true);
        // Whoever waits for an answer is not slow, however long that takes.
        call.is_the_readers_turn(false);
        tokio::time::advance(2 * IDLE).await;
        connections.close_idle();
        assert!(connections.enter().is_none());
        call.is_the_readers_turn(true);
        tokio::time::advance(STALL / 2).await;
        assert!(connections.enter().is_none());
        tokio::time::advance(STALL / 2).await;
        assert!(connections.enter().is_some());
        assert!(slow.activity().close().is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn those_without_a_call_are_closed_in_the_end() {
        let connections = Connections::new(8, IDLE);
        let (idle, busy) = (connections.enter().unwrap(), connections.enter().unwrap());
        let call = busy.activity().begin(true);
        tokio::time::advance(IDLE / 2).await;
        connections.close_idle();
        assert!(!idle.activity().close().is_cancelled());
        tokio::time::advance(IDLE / 2).await;
        connections.close_idle();
        assert!(idle.activity().close().is_cancelled());
        assert!(!busy.activity().close().is_cancelled());
        drop(call);
        connections.close_idle();
        assert!(!busy.activity().close().is_cancelled(), "it counts from its last call");
        tokio::time::advance(IDLE).await;
        connections.close_idle();
        assert!(busy.activity().close().is_cancelled());
    }
}
