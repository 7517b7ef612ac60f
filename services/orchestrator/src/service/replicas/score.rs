use cogwheel_api::stage::v1::WatchStatusResponse;

/// Seconds of a call where no replica has told any. Only ratios count.
const UNKNOWN_JOB: f64 = 1.0;
/// What a variant takes where none has been made yet, as a share of a call.
const UNKNOWN_VARIANT: f64 = 0.5;

/// What is known of a replica when one is chosen.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) rank: Rank,
    /// Calls of this process that it has.
    pub(super) own: usize,
    /// What it told of itself.
    pub(super) told: Option<WatchStatusResponse>,
}

/// Whether a replica may take a call. The least is taken first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    Serving,
    /// It takes calls and has them wait until it is loaded.
    Loading,
    /// It takes none now.
    Out,
}

/// Which replica will have done one more call first; `turn` says which of equals. `None` where none may take it.
pub(super) fn first(candidates: &[Candidate], variant: Option<&str>, turn: usize) -> Option<usize> {
    let usual = usual_job(candidates);
    let count = candidates.len();
    let order = (0..count).map(|index| (index + turn) % count);
    let able = order.filter(|&index| candidates[index].takes_one_more());
    let key = |index: &usize| (candidates[*index].rank, candidates[*index].seconds(variant, usual));
    able.min_by(|a, b| {
        let ((rank_a, a), (rank_b, b)) = (key(a), key(b));
        rank_a.cmp(&rank_b).then(a.total_cmp(&b))
    })
}

/// What a call takes on the average of the replicas that have told it.
fn usual_job(candidates: &[Candidate]) -> f64 {
    let told = candidates.iter().filter_map(|candidate| candidate.told.as_ref());
    let jobs: Vec<_> = told.map(|told| told.job_seconds).filter(|&s| is_time(s)).collect();
    if jobs.is_empty() { UNKNOWN_JOB } else { jobs.iter().sum::<f64>() / jobs.len() as f64 }
}

impl Candidate {
    /// Calls that it has. What it told may lie back, and others call it too.
    fn calls(&self) -> usize {
        self.own.max(self.told.as_ref().map_or(0, |told| told.admitted as usize))
    }

    fn takes_one_more(&self) -> bool {
        let is_full =
            |told: &WatchStatusResponse| self.calls() >= (told.admissible as usize).max(1);
        self.rank != Rank::Out && !self.told.as_ref().is_some_and(is_full)
    }

    /// Seconds until one more call would be done: those before it come first, and meanwhile its variant is made.
    fn seconds(&self, variant: Option<&str>, usual: f64) -> f64 {
        let told = self.told.as_ref();
        let job = told.map(|told| told.job_seconds).filter(|&s| is_time(s)).unwrap_or(usual);
        let before = self.calls() as f64 * job;
        let lacks = |told: &&WatchStatusResponse| {
            variant.is_some_and(|variant| !told.variants.iter().any(|id| id == variant))
        };
        let making = told.filter(lacks).map(|told| match told.variant_seconds {
            seconds if is_time(seconds) => seconds,
            _ => UNKNOWN_VARIANT * job,
        });
        before.max(making.unwrap_or(0.0)) + job
    }
}

fn is_time(seconds: f64) -> bool {
    seconds.is_finite() && seconds > 0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(admitted: u32, job_seconds: f64) -> WatchStatusResponse {
        WatchStatusResponse { admitted, admissible: 4, job_seconds, ..Default::default() }
    }

    fn up(own: usize, told: Option<WatchStatusResponse>) -> Candidate {
        Candidate { rank: Rank::Serving, own, told }
    }

    fn with(variants: &[&str], status: WatchStatusResponse) -> WatchStatusResponse {
        let variants = variants.iter().map(ToString::to_string).collect();
        WatchStatusResponse { variants, ..status }
    }

    #[test]
    fn the_one_with_less_before_it_is_first_and_the_faster_of_equals() {
        let candidates = [up(0, Some(told(2, 3.0))), up(0, Some(told(1, 3.0)))];
        assert_eq!(first(&candidates, None, 0), Some(1));
        // Two calls of a second are done before one of three.
        let candidates = [up(0, Some(told(2, 1.0))), up(0, Some(told(1, 3.0)))];
        assert_eq!(first(&candidates, None, 0), Some(0));
        // What this process sent a moment ago counts before it is told.
        let candidates = [up(3, Some(told(0, 1.0))), up(0, Some(told(1, 1.0)))];
        assert_eq!(first(&candidates, None, 0), Some(1));
    }

    #[test]
    fn a_variant_draws_as_long_as_making_it_takes_longer_than_the_queue() {
        let slow = |status| WatchStatusResponse { variant_seconds: 5.0, ..status };
        let there = up(0, Some(with(&["v"], told(2, 2.0))));
        let lacks = |admitted| up(0, Some(slow(with(&["u"], told(admitted, 2.0)))));
        assert_eq!(first(&[lacks(0), there.clone()], Some("v"), 0), Some(1));
        assert_eq!(first(&[lacks(0), there.clone()], None, 0), Some(0));
        let there = up(0, Some(with(&["v"], told(3, 2.0))));
        assert_eq!(first(&[lacks(1), there], Some("v"), 0), Some(0));
    }

    #[test]
    fn equals_take_turns_and_those_that_are_out_or_full_take_none() {
        let mut candidates = vec![up(0, None), up(0, None), up(0, None)];
        let chosen = |candidates: &[Candidate]| -> Vec<_> {
            (0..6).filter_map(|turn| first(candidates, None, turn)).collect()
        };
        assert_eq!(chosen(&candidates), [0, 1, 2, 0, 1, 2]);
        candidates[1].rank = Rank::Out;
        candidates[2].told = Some(told(4, 1.0));
        assert_eq!(chosen(&candidates), [0; 6]);
        candidates[0].rank = Rank::Out;
        assert!(chosen(&candidates).is_empty());
        assert_eq!(first(&[], None, 3), None);
    }

    #[test]
    fn one_that_loads_is_taken_only_where_none_serves() {
        let loading = Candidate { rank: Rank::Loading, own: 0, told: None };
        assert_eq!(first(&[loading.clone(), up(3, None)], None, 0), Some(1));
        assert_eq!(first(&[loading], None, 0), Some(0));
    }

    #[test]
    fn what_is_no_time_counts_as_unknown() {
        for seconds in [f64::NAN, f64::INFINITY, -1.0, 0.0] {
            let candidates = [up(0, Some(told(1, seconds))), up(0, Some(told(0, seconds)))];
            assert_eq!(first(&candidates, Some("v"), 0), Some(1), "{seconds}");
        }
    }
}
