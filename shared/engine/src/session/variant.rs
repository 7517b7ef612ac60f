use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Weak},
};

use cogwheel_graph::{Model, WeightSlot};
use cogwheel_tensor::{DType, Tensor};

use super::linear::{Packing, Weight};
use crate::{EngineError, SessionOptions, weight_source::fit};

/// Weights that stand in the place of some of a session's own in a run: see
/// [`Session::run_variant`](super::Session::run_variant). All others are the session's, so a variant takes the memory of
/// what it changes. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Variant(pub(super) Arc<Weights>);

/// A variant that others may hold or not.
#[derive(Clone, Debug)]
pub struct WeakVariant(Weak<Weights>);

impl WeakVariant {
    /// The variant, if anybody still holds it.
    pub fn upgrade(&self) -> Option<Variant> {
        self.0.upgrade().map(Variant)
    }
}

/// What a variant changes.
#[derive(Debug, Default)]
pub(super) struct Weights {
    /// Linear layers that the session computes by itself, by the names of their weights.
    pub(super) layers: HashMap<String, Layer>,
    /// All else, in the dtypes of the graph.
    pub(super) tensors: HashMap<String, Tensor>,
}

/// What a linear layer has that is not the session's.
#[derive(Clone, Debug, Default)]
pub(super) struct Layer {
    pub(super) weight: Option<Arc<Weight>>,
    pub(super) bias: Option<Tensor>,
}

/// Makes variants of one session, on any thread. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct VariantMaker(Arc<Slots>);

#[derive(Debug)]
struct Slots {
    packing: Packing,
    by_name: HashMap<String, WeightSlot>,
    /// Weights of layers that the session computes by itself.
    linears: HashSet<String>,
}

impl Variant {
    /// The same without holding it.
    pub fn downgrade(&self) -> WeakVariant {
        WeakVariant(Arc::downgrade(&self.0))
    }

    /// Bytes of memory it takes beside the session. One that has a session of its own takes what that needs to run too.
    pub fn byte_length(&self) -> usize {
        let packed = |layer: &Layer| {
            let weight = layer.weight.as_ref().map_or(0, |weight| weight.byte_length());
            weight + layer.bias.as_ref().map_or(0, |bias| bias.bytes().len())
        };
        let layers: usize = self.0.layers.values().map(packed).sum();
        layers + self.0.tensors.values().map(|tensor| tensor.bytes().len()).sum::<usize>()
    }
}

impl VariantMaker {
    /// For sessions that are made with `options` of `model`, whose weights are stored in `dtype`; there need not be one yet.
    ///
    /// Where the matrix unit takes a stored fp16 weight in two pieces, a changed one has two as well, 16 bits of mantissa,
    /// so that a run with it costs the same; bf16 ones too, which it takes in one: a run with fp32 weights in their place
    /// costs more, unless they are given in bf16. Quantized layers stay quantized.
    pub fn of(model: &Model, options: &SessionOptions, dtype: DType) -> Self {
        let pieces = if dtype == DType::F32 { 3 } else { 2 };
        let packing = Packing::of(options).with_pieces(pieces);
        let name = |slot: &WeightSlot| slot.name.clone();
        let linears = model.linear_weights();
        let linears = linears.iter().filter(|slot| packing.takes(&slot.name)).map(name).collect();
        let by_name = model.weights().iter().map(|slot| (name(slot), slot.clone())).collect();
        Self(Arc::new(Slots { packing, by_name, linears }))
    }

    /// Begins a variant that changes nothing yet.
    pub fn begin(&self) -> VariantInMaking {
        VariantInMaking { slots: Arc::clone(&self.0), weights: Weights::default() }
    }
}

/// A variant to which tensors are added one by one, each laid out as it comes.
#[derive(Debug)]
pub struct VariantInMaking {
    slots: Arc<Slots>,
    weights: Weights,
}

impl VariantInMaking {
    /// Puts a floating-point tensor in the place of the session's weight of that name.
    ///
    /// # Errors
    /// [`EngineError::NoWeight`] for a name that the graph does not have, [`EngineError::WeightForm`] for another shape.
    pub fn add(&mut self, name: &str, tensor: Tensor) -> Result<(), EngineError> {
        let slots = &self.slots;
        let no_weight = || EngineError::NoWeight { name: name.to_owned() };
        let slot = slots.by_name.get(name).ok_or_else(no_weight)?;
        let is_float = |dtype| matches!(dtype, DType::F32 | DType::F16 | DType::BF16);
        let tensor = fit(tensor, slot, is_float)?;
        if slots.linears.contains(name) {
            let packed = slots
                .packing
                .pack(name, &tensor)
                .map_err(|source| EngineError::Product { name: name.to_owned(), source })?;
            self.layer(name).weight = packed.map(Arc::new);
            return Ok(());
        }
        let weight = weight_of_bias(name).filter(|weight| slots.linears.contains(weight));
        if let Some(weight) = weight {
            self.layer(&weight).bias = Some(tensor.widened()?);
            return Ok(());
        }
        let tensor = if slot.dtype == DType::F32 { tensor.widened()? } else { tensor };
        self.weights.tensors.insert(name.to_owned(), fit(tensor, slot, |d| d == slot.dtype)?);
        Ok(())
    }

    /// The variant.
    pub fn finish(self) -> Variant {
        Variant(Arc::new(self.weights))
    }

    fn layer(&mut self, weight: &str) -> &mut Layer {
        self.weights.layers.entry(weight.to_owned()).or_default()
    }
}

/// `x.weight` of `x.bias`.
fn weight_of_bias(bias: &str) -> Option<String> {
    bias.strip_suffix(".bias").map(|layer| format!("{layer}.weight"))
}
