use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

/// What the services of this process log, in its order. One test a process may keep one.
#[derive(Clone, Debug, Default)]
pub struct Journal(Arc<Mutex<Vec<Entry>>>);

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// The crate and module that logged it.
    pub target: String,
    /// Its message.
    pub message: String,
    /// Its `timestep` field, if it has one.
    pub timestep: Option<i64>,
}

impl Journal {
    /// Keeps every event from now on.
    ///
    /// # Panics
    /// When another test of the process keeps one already.
    pub fn start() -> Self {
        let journal = Self::default();
        tracing_subscriber::registry().with(journal.clone()).init();
        journal
    }

    /// Everything so far.
    pub fn entries(&self) -> Vec<Entry> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let target = event.metadata().target();
        if target.starts_with("cogwheel") {
            let mut entry = Entry { target: target.to_owned(), ..Entry::default() };
            event.record(&mut entry);
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
        }
    }
}

impl Visit for Entry {
    fn record_i64(&mut self, field: &Field, value: i64) {
        if field.name() == "timestep" {
            self.timestep = Some(value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        }
    }
}
