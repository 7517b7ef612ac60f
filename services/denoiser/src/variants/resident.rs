use std::collections::HashMap;

use cogwheel_engine::Variant;
use cogwheel_lora::VariantId;

/// Variants in memory, within a budget of bytes.
#[derive(Debug)]
pub(super) struct Resident {
    byte_budget: u64,
    variants: HashMap<VariantId, Kept>,
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
        Self { byte_budget, variants: HashMap::new(), clock: 0 }
    }

    /// The variant, used now.
    pub(super) fn get(&mut self, id: &VariantId) -> Option<Variant> {
        self.clock += 1;
        let kept = self.variants.get_mut(id)?;
        kept.used = self.clock;
        Some(kept.variant.clone())
    }

    /// Whether the variant is here; no use of it.
    pub(super) fn has(&self, id: &VariantId) -> bool {
        self.variants.contains_key(id)
    }

    /// Keeps a variant, used now; lets those go that were not used the longest until the budget holds, at last itself.
    /// Whoever still runs with one that was let go keeps it as long.
    pub(super) fn insert(&mut self, id: VariantId, variant: Variant) {
        self.clock += 1;
        self.variants.insert(id, Kept { variant, used: self.clock });
        while self.bytes() > self.byte_budget {
            let oldest = self.variants.iter().min_by_key(|(_, kept)| kept.used);
            let Some(oldest) = oldest.map(|(id, _)| *id) else { break };
            self.variants.remove(&oldest);
            tracing::debug!(variant = %oldest, "variant let go");
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.variants.values().map(|kept| kept.variant.byte_length() as u64).sum()
    }
}
