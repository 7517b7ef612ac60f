//! Linear layers by the processor's matrix unit: an operator of our own in the graph, whose weights are packed and kept
//! here instead of being given to ONNX Runtime.

mod operator;

use std::{
    borrow::Cow,
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use cogwheel_graph::{LinearOperator, Model};
use cogwheel_product::{MatrixUnit, PackedWeight};
pub(super) use operator::domain;

use super::variant;
use crate::{EngineError, Provider, SessionOptions, WeightSource, weight_source::supply_stored};

/// The operator as graphs name it.
const OPERATOR: LinearOperator = LinearOperator { domain: "cogwheel", name: "Linear" };

/// What the operators of one session share. Packed weights are shared by count, so that sessions of one graph that differ
/// in some weights can have the others in common.
#[derive(Debug)]
pub(super) struct Products {
    unit: MatrixUnit,
    /// By name in the checkpoint.
    weights: HashMap<String, Arc<PackedWeight>>,
    /// Of the session.
    threads: usize,
    /// What the run has in the place of some of them.
    variant: Mutex<Option<Arc<variant::Weights>>>,
}

impl Products {
    /// The same weights for another session.
    pub(super) fn shared(&self) -> Self {
        let Self { unit, weights, threads, .. } = self;
        Self { unit: *unit, weights: weights.clone(), threads: *threads, variant: Mutex::default() }
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

/// Takes the linear layers out of ONNX Runtime's hands where there is a matrix unit to compute them: packs their weights
/// and rewrites the model. Else the model stays as it is.
pub(super) fn hand_over<'m>(
    model: Cow<'m, Model>,
    source: &dyn WeightSource,
    options: &SessionOptions,
) -> Result<(Cow<'m, Model>, Option<Products>), EngineError> {
    let Some(unit) = unit(options) else { return Ok((model, None)) };
    let slots = model.linear_weights();
    if slots.is_empty() {
        return Ok((model, None));
    }
    let mut weights = HashMap::with_capacity(slots.len());
    for slot in &slots {
        let packed = PackedWeight::new(unit, &supply_stored(source, slot)?)
            .map_err(|source| EngineError::Product { name: slot.name.clone(), source })?;
        weights.insert(slot.name.clone(), Arc::new(packed));
    }
    let bytes: usize = weights.values().map(|weight| weight.byte_length()).sum();
    tracing::info!(unit = unit.name(), layers = weights.len(), bytes, "linear layers packed");
    let model = Cow::Owned(model.into_owned().hand_over(&slots, OPERATOR));
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let threads = options.threads.unwrap_or_else(cores);
    Ok((model, Some(Products { unit, weights, threads, variant: Mutex::default() })))
}
