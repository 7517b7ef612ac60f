use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cogwheel_lora::VariantId;
use tokio::sync::oneshot;

/// Who may hold a variant, and who waits for that. Those whose variant is there go before those whose variant must be
/// made, so that what waits for one is served together; but nobody is passed more often than a bound. One at a time has a
/// place for what must be made: a second one would only wait there for the first, and keep those out who could run.
#[derive(Debug)]
pub(super) struct Line {
    max_passed: u32,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    free: usize,
    /// Whether somebody with a place has yet to get the variant.
    making: bool,
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    id: VariantId,
    passed: u32,
    turn: oneshot::Sender<Place>,
}

/// A place among those who hold a variant; the next one's when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    /// With what tells whether a variant is there; absent once the place is given back.
    line: Option<(Arc<Line>, IsThere)>,
    /// Whether the variant was not there when the place was given, and is not yet.
    making: bool,
}

/// Whether a variant is in memory.
#[derive(Clone)]
pub(super) struct IsThere(pub(super) Arc<dyn Fn(&VariantId) -> bool + Send + Sync>);

impl std::fmt::Debug for IsThere {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("IsThere")
    }
}

impl Line {
    pub(super) fn new(places: usize, max_passed: u32) -> Self {
        let state = State { free: places, making: false, waiting: VecDeque::new() };
        Self { max_passed, state: Mutex::new(state) }
    }

    /// A place for whoever wants this variant, in turn.
    ///
    /// # Cancel safety
    /// Dropping it leaves the line.
    pub(super) async fn place(self: &Arc<Self>, id: VariantId, is_there: &IsThere) -> Place {
        let (turn, place) = oneshot::channel();
        {
            let mut state = self.state();
            state.waiting.push_back(Waiting { id, passed: 0, turn });
            self.admit(&mut state, is_there);
        }
        // A waiting sender is dropped by nobody but `admit`, which has sent by then.
        place.await.unwrap_or(Place { line: None, making: false })
    }

    fn admit(self: &Arc<Self>, state: &mut State, is_there: &IsThere) {
        state.waiting.retain(|waiting| !waiting.turn.is_closed());
        while state.free > 0 && !state.waiting.is_empty() {
            let next = match state.waiting.front() {
                Some(first) if first.passed >= self.max_passed => 0,
                _ => state.waiting.iter().position(|w| (is_there.0)(&w.id)).unwrap_or(0),
            };
            let making = !state.waiting.get(next).is_some_and(|waiting| (is_there.0)(&waiting.id));
            if making && state.making {
                return;
            }
            state.waiting.iter_mut().take(next).for_each(|waiting| waiting.passed += 1);
            let Some(waiting) = state.waiting.remove(next) else { return };
            let place = Place { line: Some((Arc::clone(self), is_there.clone())), making };
            match waiting.turn.send(place) {
                Ok(()) => {
                    state.free -= 1;
                    state.making |= making;
                }
                // Whoever waited has left in this moment. The line is locked: nothing is given back.
                Err(mut place) => place.line = None,
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// The variant is there now: the next one may be made.
    pub(super) fn made(&mut self) {
        let Some((line, is_there)) = self.line.as_ref().filter(|_| self.making) else { return };
        self.making = false;
        let mut state = line.state();
        state.making = false;
        line.admit(&mut state, is_there);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some((line, is_there)) = self.line.take() {
            let mut state = line.state();
            state.free += 1;
            state.making &= !self.making;
            line.admit(&mut state, &is_there);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn id(number: u8) -> VariantId {
        VariantId::from_bytes([number; 32])
    }

    /// Only variant 9 is there.
    fn is_there() -> IsThere {
        IsThere(Arc::new(|variant| *variant == id(9)))
    }

    type Waits = Pin<Box<dyn Future<Output = Place>>>;

    fn wait(line: &Arc<Line>, number: u8) -> Waits {
        let line = Arc::clone(line);
        let mut waits: Waits = Box::pin(async move { line.place(id(number), &is_there()).await });
        assert!(place(&mut waits).is_none(), "expected to wait");
        waits
    }

    fn place(waits: &mut Waits) -> Option<Place> {
        match waits.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(place) => Some(place),
            Poll::Pending => None,
        }
    }

    #[tokio::test]
    async fn what_is_there_goes_first_but_passes_nobody_more_often_than_the_bound() {
        let line = Arc::new(Line::new(1, 2));
        let mut held = line.place(id(1), &is_there()).await;
        let mut other = wait(&line, 2);
        let mut there: Vec<_> = (0..3).map(|_| wait(&line, 9)).collect();
        for waits in &mut there[..2] {
            drop(held);
            assert!(place(&mut other).is_none());
            held = place(waits).expect("those whose variant is there come first");
        }
        drop(held);
        let held = place(&mut other).expect("passed twice, it is its turn");
        assert!(place(&mut there[2]).is_none());
        drop(held);
        assert!(place(&mut there[2]).is_some());
    }

    #[tokio::test]
    async fn a_second_variant_to_make_leaves_the_free_place_to_one_that_is_there() {
        let line = Arc::new(Line::new(2, 8));
        let mut making = line.place(id(1), &is_there()).await;
        let mut second = wait(&line, 2);
        let there = line.place(id(9), &is_there()).await;
        assert!(place(&mut second).is_none());
        drop(there);
        assert!(place(&mut second).is_none(), "the first is not made yet");
        making.made();
        let second = place(&mut second).expect("the first is made");
        let mut third = wait(&line, 3);
        drop(making);
        assert!(place(&mut third).is_none(), "the second is not made yet");
        drop(second);
        assert!(place(&mut third).is_some(), "whoever gives up makes no more");
    }

    #[tokio::test]
    async fn whoever_leaves_the_line_is_not_waited_for() {
        let line = Arc::new(Line::new(1, 2));
        let held = line.place(id(1), &is_there()).await;
        let (gone, mut next) = (wait(&line, 2), wait(&line, 3));
        drop(gone);
        drop(held);
        let held = place(&mut next).expect("the one before has left");
        assert_eq!(line.state().free, 0);
        drop(held);
        assert_eq!(line.state().free, 1);
    }

    #[tokio::test]
    async fn a_place_that_was_given_and_never_taken_goes_to_the_next() {
        let line = Arc::new(Line::new(1, 2));
        let held = line.place(id(1), &is_there()).await;
        let (given, mut next) = (wait(&line, 2), wait(&line, 3));
        drop(held);
        drop(given);
        assert!(place(&mut next).is_some());
    }
}
