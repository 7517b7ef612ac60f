//! Linear layers by the processor's matrix unit, or in bytes: an operator of our own in the graph, whose weights are packed
//! and kept here instead of being given to ONNX Runtime.

mod operator;
mod weight;

use std::{
    borrow::Cow,
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use cogwheel_graph::{LinearOperator, Model};
use cogwheel_product::MatrixUnit;
pub(super) use operator::domain;
pub(super) use weight::{Packing, Weight};

use super::variant;
use crate::{EngineError, Provider, SessionOptions, WeightSource, weight_source::supply_stored};

/// The operator as graphs name it.
const OPERATOR: LinearOperator = LinearOperator { domain: "cogwheel", name: "Linear" };

/// What the operators of one session share. Packed weights are shared by count, so that sessions of one graph that differ
/// in some weights can have the others in common.
#[derive(Debug)]
pub(super) struct Products {
    /// By name in the checkpoint.
    weights: HashMap<String, Arc<Weight>>,
    /// Of the session.
    threads: usize,
    /// What the run has in the place of some of them.
    variant: Mutex<Option<Arc<variant::Weights>>>,
}

impl Products {
    /// The same weights for another session.
    pub(super) fn shared(&self) -> Self {
        let Self { weights, threads, .. } = self;
        Self { weights: weights.clone(), threads: *threads, variant: Mutex::default() }
    }

    /// What the next runs have in the place of some weights.
    pub(super) fn use_variant(&self, variant: Option<Arc<variant::Weights>>) {
        *self.variant.lock().unwrap_or_else(PoisonError::into_inner) = variant;
    }

    fn variant(&self) -> Option<Arc<variant::Weights>> {
        self.variant.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The matrix unit that sessions with these options use.
pub(super) fn unit(options: &SessionOptions) -> Option<MatrixUnit> {
    let wanted = options.matrix_unit && options.provider == Provider::Cpu;
    wanted.then(MatrixUnit::find).flatten()
}

/// Takes linear layers out of ONNX Runtime's hands, those that are quantized, and where there is a matrix unit to compute
/// them all others: packs their weights and rewrites the model. Else the model stays as it is.
pub(super) fn hand_over<'m>(
    model: Cow<'m, Model>,
    source: &dyn WeightSource,
    options: &SessionOptions,
) -> Result<(Cow<'m, Model>, Option<Products>), EngineError> {
    let packing = Packing::of(options);
    let mut slots = model.linear_weights();
    slots.retain(|slot| packing.takes(&slot.name));
    if slots.is_empty() {
        return Ok((model, None));
    }
    let mut weights = HashMap::with_capacity(slots.len());
    for slot in &slots {
        let packed = packing
            .pack(&slot.name, &supply_stored(source, slot)?)
            .map_err(|source| EngineError::Product { name: slot.name.clone(), source })?;
        weights.extend(packed.map(|packed| (slot.name.clone(), Arc::new(packed))));
    }
    let bytes: usize = weights.values().map(|weight| weight.byte_length()).sum();
    let is_quantized = |weight: &&Arc<Weight>| matches!(***weight, Weight::Quantized(_));
    let quantized = weights.values().filter(is_quantized).count();
    tracing::info!(layers = weights.len(), quantized, bytes, "linear layers packed");
    let model = Cow::Owned(model.into_owned().hand_over(&slots, OPERATOR));
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let threads = options.threads.unwrap_or_else(cores);
    Ok((model, Some(Products { weights, threads, variant: Mutex::default() })))
}
