use std::{collections::BTreeMap, fmt, sync::Arc};

use cogwheel_tensor::DType;
use cogwheel_weights::{Digest, Weights};

use crate::{Adapter, Target};

/// What a variant is made of: adapters with their scales, in an order that the same variant always has.
#[derive(Clone, Debug)]
pub struct Recipe {
    adapters: Vec<(Arc<Adapter>, f32)>,
}

/// Why adapters and scales make no variant.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RecipeError {
    /// A scale that is no number to multiply with.
    #[error("scale of adapter {adapter}: expected a finite number, found {found}")]
    Scale {
        /// The adapter's digest.
        adapter: Digest,
        /// The scale.
        found: f32,
    },
}

/// A variant's identity: the same model, adapters and scales always have the same. Shown as 64 hexadecimal digits. The
/// precision that a variant is rounded to is no part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VariantId(Digest);

impl Recipe {
    /// Adapters with the scales that `set_adapters` would give them, in the order in which it would merge them.
    ///
    /// Plain LoRAs are sums, which their order has no part in: they are sorted. One DoRA among them rescales what was
    /// merged before it, so that the order given is kept. An adapter with a scale of 0 adds nothing and is left out; a
    /// DoRA is not, since the norms that it gives to the weights remain.
    ///
    /// # Errors
    /// [`RecipeError::Scale`] for NaN or infinity.
    pub fn new(adapters: Vec<(Arc<Adapter>, f32)>) -> Result<Self, RecipeError> {
        if let Some((adapter, found)) = adapters.iter().find(|(_, scale)| !scale.is_finite()) {
            return Err(RecipeError::Scale { adapter: adapter.digest(), found: *found });
        }
        let mut adapters = adapters;
        adapters.retain(|(adapter, scale)| *scale != 0.0 || adapter.is_dora());
        if !adapters.iter().any(|(adapter, _)| adapter.is_dora()) {
            adapters.sort_by_cached_key(|(adapter, scale)| (adapter.identity(), scale.to_bits()));
        }
        Ok(Self { adapters })
    }

    /// The adapters that take part, in the order of merging.
    pub fn adapters(&self) -> &[(Arc<Adapter>, f32)] {
        &self.adapters
    }

    /// Whether the variant is the model itself.
    pub fn is_base(&self) -> bool {
        self.adapters.is_empty()
    }

    /// The identity of the variant that these make of a model, which its transformer's weights stand for.
    pub fn id(&self, model: Digest) -> VariantId {
        let mut hasher = blake3::Hasher::new_derive_key("cogwheel 2026 variant v1");
        hasher.update(model.as_bytes());
        for (adapter, scale) in &self.adapters {
            hasher.update(adapter.identity().as_bytes());
            // -0.0 of a DoRA is 0.0.
            hasher.update(&(scale + 0.0).to_bits().to_le_bytes());
        }
        VariantId(Digest::from_bytes(*hasher.finalize().as_bytes()))
    }

    /// Bytes that the changed tensors take in a precision: what the variant adds to what the model takes. Tensors that the
    /// base lacks count nothing; merging refuses them.
    pub fn changed_bytes(&self, base: &Weights, dtype: DType) -> u64 {
        let elements = |name: &String| {
            let tensor = base.get(name)?;
            Some((tensor.bytes.len() / tensor.dtype.size()) as u64)
        };
        let names = self.changed_tensors();
        names.iter().filter_map(elements).sum::<u64>() * dtype.size() as u64
    }

    /// Layers that change, each with what changes it in order.
    pub(crate) fn layers(&self) -> BTreeMap<&str, Vec<(&Target, f32)>> {
        let mut layers: BTreeMap<&str, Vec<(&Target, f32)>> = BTreeMap::new();
        for (adapter, scale) in &self.adapters {
            for target in adapter.targets() {
                let factor = (f64::from(*scale) * target.ratio()) as f32;
                layers.entry(&target.module).or_default().push((target, factor));
            }
        }
        layers
    }

    /// The names of the tensors that change, in order.
    pub fn changed_tensors(&self) -> Vec<String> {
        let layers = self.layers();
        let names = layers.into_iter().flat_map(|(layer, terms)| {
            let bias = terms.iter().any(|(target, _)| target.bias.is_some());
            let bias = bias.then(|| format!("{layer}.bias"));
            bias.into_iter().chain([format!("{layer}.weight")])
        });
        names.collect()
    }
}

impl VariantId {
    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// An identity from its bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Digest::from_bytes(bytes))
    }
}

impl fmt::Display for VariantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
