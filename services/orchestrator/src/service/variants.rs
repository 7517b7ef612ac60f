use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::plan::ChosenAdapter;

/// As many variants are known.
const MAX_KNOWN: usize = 1024;

/// Which variant adapters make, as the denoiser has told: by that it is found who has it in memory.
#[derive(Debug, Default)]
pub(crate) struct KnownVariants(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    ids: HashMap<String, String>,
    /// The oldest first.
    order: VecDeque<String>,
}

impl KnownVariants {
    /// The variant of these adapters, where it was told; none where there are no adapters.
    pub(crate) fn of(&self, adapters: &[ChosenAdapter]) -> Option<String> {
        if adapters.is_empty() {
            return None;
        }
        self.known().ids.get(&key(adapters)).cloned()
    }

    /// The denoiser told the variant of these adapters.
    pub(crate) fn note(&self, adapters: &[ChosenAdapter], id: &str) {
        if adapters.is_empty() || id.is_empty() {
            return;
        }
        let key = key(adapters);
        let mut known = self.known();
        if known.ids.insert(key.clone(), id.to_owned()).is_some() {
            return;
        }
        known.order.push_back(key);
        if known.order.len() > MAX_KNOWN
            && let Some(oldest) = known.order.pop_front()
        {
            known.ids.remove(&oldest);
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Digests and scales in the order of the request.
fn key(adapters: &[ChosenAdapter]) -> String {
    let one =
        |chosen: &ChosenAdapter| format!("{}={}", chosen.adapter.digest(), chosen.scale.to_bits());
    adapters.iter().map(one).collect::<Vec<_>>().join(",")
}
