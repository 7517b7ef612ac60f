use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use super::{JobError, SubmitError, job::Job, pace::Pace};

/// The jobs that wait, and whether one runs.
pub(super) struct Queue<M> {
    depth: usize,
    state: Mutex<State<M>>,
    changed: Condvar,
    pub(super) pace: Pace,
}

struct State<M> {
    jobs: VecDeque<(u64, Job<M>)>,
    next_id: u64,
    running: bool,
    closed: bool,
}

impl<M> Queue<M> {
    pub(super) fn new(depth: usize) -> Self {
        let state = State { jobs: VecDeque::new(), next_id: 0, running: false, closed: false };
        Self { depth, state: Mutex::new(state), changed: Condvar::new(), pace: Pace::default() }
    }

    pub(super) fn push(&self, job: Job<M>) -> Result<u64, SubmitError> {
        let mut state = self.lock();
        if state.closed {
            return Err(SubmitError::Stopped);
        }
        // A worker at rest takes a job even if none may wait.
        if state.jobs.len() >= self.depth.saturating_add(usize::from(!state.running)) {
            return Err(SubmitError::QueueFull { depth: self.depth });
        }
        let id = state.next_id;
        state.next_id += 1;
        state.jobs.push_back((id, job));
        state.tell_positions();
        self.changed.notify_one();
        Ok(id)
    }

    /// Takes a job out of the queue if it is still there.
    pub(super) fn withdraw(&self, id: u64) {
        let mut state = self.lock();
        if let Some(place) = state.jobs.iter().position(|(other, _)| *other == id) {
            let job = state.jobs.remove(place);
            state.tell_positions();
            drop(state);
            // What the job holds may be large, or lock something: it goes after the lock.
            drop(job);
        }
    }

    /// Waits for the next job; `None` when the queue is closed. `idle` is called, without the
    /// lock, before waiting.
    pub(super) fn next(&self, mut idle: impl FnMut()) -> Option<Job<M>> {
        let mut state = self.lock();
        state.running = false;
        if state.jobs.is_empty() && !state.closed {
            drop(state);
            idle();
            state = self.lock();
        }
        loop {
            if state.closed {
                return None;
            }
            if let Some((_, job)) = state.jobs.pop_front() {
                state.running = true;
                job.ahead.send_replace(0);
                state.tell_positions();
                return Some(job);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Refuses further jobs and fails those that wait.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let jobs = std::mem::take(&mut state.jobs);
        self.changed.notify_all();
        drop(state);
        for (_, job) in jobs {
            job.run(Err(JobError::Stopped)).send();
        }
    }

    pub(super) fn waiting(&self) -> usize {
        self.lock().jobs.len()
    }

    fn lock(&self) -> MutexGuard<'_, State<M>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<M> State<M> {
    fn tell_positions(&self) {
        let running = usize::from(self.running);
        for (place, (_, job)) in self.jobs.iter().enumerate() {
            job.ahead.send_if_modified(|ahead| {
                let changed = *ahead != place + running;
                *ahead = place + running;
                changed
            });
        }
    }
}
