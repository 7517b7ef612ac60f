use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// How much a piece counts; all before it count for the rest.
const SHARE: f64 = 0.25;

/// What pieces of work took lately: a mean in which each counts less than the one after it.
#[derive(Debug, Default)]
pub struct Pace {
    /// Nanoseconds; 0 while none has ended.
    mean: AtomicU64,
}

impl Pace {
    /// One has taken so long. Of two that are told at the same moment one may not count.
    pub fn took(&self, elapsed: Duration) {
        let elapsed = elapsed.as_nanos() as f64;
        let mean = match self.mean.load(Ordering::Relaxed) {
            0 => elapsed,
            mean => mean as f64 * (1.0 - SHARE) + elapsed * SHARE,
        };
        self.mean.store((mean as u64).max(1), Ordering::Relaxed);
    }

    /// The mean; zero while none has ended.
    pub fn mean(&self) -> Duration {
        Duration::from_nanos(self.mean.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_follows_what_jobs_take() {
        let pace = Pace::default();
        assert_eq!(pace.mean(), Duration::ZERO);
        pace.took(Duration::from_secs(8));
        assert_eq!(pace.mean(), Duration::from_secs(8));
        pace.took(Duration::from_secs(4));
        assert_eq!(pace.mean(), Duration::from_secs(7));
        (0..40).for_each(|_| pace.took(Duration::from_secs(2)));
        assert_eq!(pace.mean().as_secs_f64().round(), 2.0);
        pace.took(Duration::MAX);
        assert!(pace.mean() > Duration::from_secs(2));
    }
}
