use std::sync::{Mutex, PoisonError};

/// Retries at once, where all went well before.
const MOST: f64 = 20.0;
/// What a call that was answered gives: of ten calls one may be a retry in the long run.
const GAIN: f64 = 0.1;

/// How many calls may be made again. Where a stage fails altogether, retries would only multiply its load.
#[derive(Debug)]
pub(super) struct Budget(Mutex<f64>);

impl Default for Budget {
    fn default() -> Self {
        Self(Mutex::new(MOST))
    }
}

impl Budget {
    /// Takes a retry, where one is left.
    pub(super) fn take(&self) -> bool {
        let mut left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let may = *left >= 1.0;
        if may {
            *left -= 1.0;
        }
        may
    }

    /// A call was answered.
    pub(super) fn gain(&self) {
        let mut left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *left = (*left + GAIN).min(MOST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_are_few_where_nothing_succeeds_and_a_tenth_of_what_does() {
        let budget = Budget::default();
        assert_eq!((0..1000).filter(|_| budget.take()).count(), 20);
        (0..55).for_each(|_| budget.gain());
        assert_eq!((0..1000).filter(|_| budget.take()).count(), 5);
        (0..100_000).for_each(|_| budget.gain());
        assert_eq!((0..1000).filter(|_| budget.take()).count(), 20);
    }
}
