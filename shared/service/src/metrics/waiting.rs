use std::time::{Duration, Instant};

use super::{METRICS, label};

/// A request that waits for its turn: it counts in the depth of its service's queue until this is
/// dropped.
#[derive(Debug)]
pub struct Waiting {
    service: &'static str,
    since: Instant,
}

impl Waiting {
    /// A request waits for a service, as messages call it.
    pub fn of(service: &str) -> Self {
        let service = label(service);
        METRICS.queue_depth.get_or_create(&[("service", service)]).inc();
        Self { service, since: Instant::now() }
    }

    /// It waits no more; how long it did. Its turn may yet be to come.
    pub fn end(self) -> Duration {
        self.since.elapsed()
    }

    /// Its turn has come, after `before` in an earlier queue.
    pub fn begin(self, before: Duration) {
        observe(self.service, before + self.since.elapsed());
    }
}

/// Whoever has waited for a service, as messages call it, in several waits that have [ended](Waiting::end), waits no more.
pub fn waited(service: &str, waited: Duration) {
    observe(label(service), waited);
}

fn observe(service: &'static str, waited: Duration) {
    METRICS.queue.get_or_create(&[("service", service)]).observe(waited.as_secs_f64());
}

impl Drop for Waiting {
    fn drop(&mut self) {
        METRICS.queue_depth.get_or_create(&[("service", self.service)]).dec();
    }
}
