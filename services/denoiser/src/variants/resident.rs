use std::collections::{HashMap, HashSet};

use cogwheel_engine::{Variant, WeakVariant};
use cogwheel_lora::VariantId;
use cogwheel_service::metrics;

/// Variants in memory: those that are kept, within a budget of bytes, and those that somebody holds. Of those that are
/// kept the pinned ones go last, and only where a running request needs their memory.
#[derive(Debug)]
pub(super) struct Resident {
    byte_budget: u64,
    /// What the model's weights leave of the memory, where that is known.
    memory: Option<u64>,
    /// What the request that runs takes of it.
    need: u64,
    kept: HashMap<VariantId, Kept>,
    held: HashMap<VariantId, WeakVariant>,
    /// Those that nobody has run with since they were made.
    made: HashSet<VariantId>,
    /// Counts uses.
    clock: u64,
}

#[derive(Debug)]
struct Kept {
    variant: Variant,
    used: u64,
    pinned: bool,
}

impl Resident {
    pub(super) fn new(byte_budget: u64, memory: Option<u64>) -> Self {
        let (kept, held, made) = (HashMap::new(), HashMap::new(), HashSet::new());
        Self { byte_budget, memory, need: 0, kept, held, made, clock: 0 }
    }

    /// Bytes that may be kept: the budget, as far as the request that runs leaves it.
    pub(super) fn budget(&self) -> u64 {
        let left = self.memory.map_or(u64::MAX, |memory| memory.saturating_sub(self.need));
        left.min(self.byte_budget)
    }

    /// A request runs and takes so many bytes at its peak, beside the weights and the variants that are kept; its own
    /// variant is one of these, or counts too. Others go until it has them.
    pub(super) fn run(&mut self, bytes: u64, variant: Option<(&VariantId, &Variant)>) {
        let unkept = variant.filter(|(id, _)| !self.kept.contains_key(id));
        let own = unkept.map_or(0, |(_, variant)| variant.byte_length() as u64);
        self.need = bytes.saturating_add(own);
        self.keep_within_budget();
    }

    /// It has ended.
    pub(super) fn ended(&mut self) {
        self.need = 0;
    }

    /// The variant, used now.
    pub(super) fn get(&mut self, id: &VariantId) -> Option<Variant> {
        self.clock += 1;
        match self.kept.get_mut(id) {
            Some(kept) => {
                kept.used = self.clock;
                Some(kept.variant.clone())
            }
            None => self.held.get(id)?.upgrade(),
        }
    }

    /// Whether the variant is here; no use of it.
    pub(super) fn has(&self, id: &VariantId) -> bool {
        let held = || self.held.get(id).and_then(WeakVariant::upgrade);
        self.kept.contains_key(id) || held().is_some()
    }

    /// Whether a run with the variant is the first since it was made.
    pub(super) fn is_first_run(&mut self, id: &VariantId) -> bool {
        self.made.remove(id)
    }

    /// Ids of the variants that are here.
    pub(super) fn ids(&self) -> impl Iterator<Item = &VariantId> {
        let held = self
            .held
            .iter()
            .filter(|(id, held)| !self.kept.contains_key(id) && held.upgrade().is_some());
        self.kept.keys().chain(held.map(|(id, _)| id))
    }

    /// Knows a variant as long as somebody holds it, and keeps it where the budget has room beside the pinned ones: others
    /// go that were not used the longest.
    pub(super) fn insert(&mut self, id: VariantId, variant: Variant) {
        self.held.retain(|_, held| held.upgrade().is_some());
        self.held.insert(id, variant.downgrade());
        let (kept, held) = (&self.kept, &self.held);
        self.made.retain(|id| kept.contains_key(id) || held.contains_key(id));
        self.made.insert(id);
        if !self.has_place(&id, variant.byte_length() as u64) {
            return;
        }
        self.clock += 1;
        self.kept.insert(id, Kept { variant, used: self.clock, pinned: false });
        self.keep_within_budget();
    }

    /// Pins a variant, or takes that back; whether it is kept, and so can be pinned.
    pub(super) fn pin(&mut self, id: &VariantId, pinned: bool) -> bool {
        let kept = self.kept.get_mut(id);
        kept.map(|kept| kept.pinned = pinned).is_some()
    }

    /// Pins a variant, and keeps it if it is there only as long as somebody uses it; whether there is a place for it.
    pub(super) fn keep_pinned(&mut self, id: VariantId, variant: &Variant) -> bool {
        if !self.kept.contains_key(&id) {
            self.insert(id, variant.clone());
        }
        self.pin(&id, true)
    }

    /// Whether a variant of so many bytes can be kept beside the pinned ones.
    pub(super) fn has_place(&self, id: &VariantId, bytes: u64) -> bool {
        let pinned = self.kept.iter().filter(|(other, kept)| kept.pinned && *other != id);
        let pinned: u64 = pinned.map(|(_, kept)| kept.variant.byte_length() as u64).sum();
        pinned.saturating_add(bytes) <= self.budget()
    }

    /// Whether a variant of so many bytes can be kept beside all others.
    pub(super) fn has_room(&self, bytes: u64) -> bool {
        self.bytes().saturating_add(bytes) <= self.budget()
    }

    /// Lets those go that were not used the longest until the rest is within the budget. Whoever still runs with one keeps
    /// it as long.
    fn keep_within_budget(&mut self) {
        let before = self.kept.len();
        while self.bytes() > self.budget() {
            let oldest = self.kept.iter().min_by_key(|(_, kept)| (kept.pinned, kept.used));
            let Some((oldest, pinned)) = oldest.map(|(id, kept)| (*id, kept.pinned)) else { break };
            self.kept.remove(&oldest);
            if pinned {
                tracing::warn!(variant = %oldest, "a pinned variant is let go: a request needs its memory");
            } else {
                tracing::debug!(variant = %oldest, "variant let go");
            }
        }
        metrics::resident_variants(self.kept.len(), self.bytes());
        if self.kept.len() < before {
            cogwheel_engine::give_back();
        }
    }

    /// Of those that are kept.
    pub(super) fn bytes(&self) -> u64 {
        self.kept.values().map(|kept| kept.variant.byte_length() as u64).sum()
    }
}

#[cfg(test)]
mod tests;
