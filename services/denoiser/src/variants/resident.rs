use std::collections::HashMap;

use cogwheel_engine::{Variant, WeakVariant};
use cogwheel_lora::VariantId;

/// Variants in memory: those that are kept, within a budget of bytes, and those that somebody holds.
#[derive(Debug)]
pub(super) struct Resident {
    byte_budget: u64,
    kept: HashMap<VariantId, Kept>,
    held: HashMap<VariantId, WeakVariant>,
    /// Counts uses.
    clock: u64,
}

#[derive(Debug)]
struct Kept {
    variant: Variant,
    used: u64,
}

impl Resident {
    pub(super) fn new(byte_budget: u64) -> Self {
        Self { byte_budget, kept: HashMap::new(), held: HashMap::new(), clock: 0 }
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

    /// Knows a variant as long as somebody holds it, and keeps it unless it alone is more than the budget: others go that
    /// were not used the longest.
    pub(super) fn insert(&mut self, id: VariantId, variant: Variant) {
        self.held.retain(|_, held| held.upgrade().is_some());
        self.held.insert(id, variant.downgrade());
        if variant.byte_length() as u64 > self.byte_budget {
            return;
        }
        self.clock += 1;
        self.kept.insert(id, Kept { variant, used: self.clock });
        self.keep_within(self.byte_budget);
    }

    /// Lets those go that were not used the longest until the rest takes no more bytes than these. Whoever still runs with
    /// one keeps it as long.
    pub(super) fn keep_within(&mut self, bytes: u64) {
        let before = self.kept.len();
        while self.bytes() > bytes {
            let oldest = self.kept.iter().min_by_key(|(_, kept)| kept.used);
            let Some(oldest) = oldest.map(|(id, _)| *id) else { break };
            self.kept.remove(&oldest);
            tracing::debug!(variant = %oldest, "variant let go");
        }
        if self.kept.len() < before {
            cogwheel_engine::give_back();
        }
    }

    /// Of those that are kept.
    pub(super) fn bytes(&self) -> u64 {
        self.kept.values().map(|kept| kept.variant.byte_length() as u64).sum()
    }
}
