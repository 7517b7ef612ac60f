use std::{
    borrow::Cow,
    collections::HashMap,
    sync::{Arc, Weak},
};

use cogwheel_graph::{Model, WeightSlot};

use super::{
    Variant,
    create::{self, Supplied},
    linear::Products,
    value, variant,
};
use crate::{EngineError, Runtime, SessionOptions, freed, weight_source::fit};

/// Sessions of variants that change what the matrix unit does not have: of the same graph, over the same weights but for
/// what is changed.
#[derive(Debug)]
pub(super) struct Siblings {
    runtime: Runtime,
    /// Without what the matrix unit computes.
    model: Model,
    options: SessionOptions,
    weights: HashMap<String, Supplied>,
    made: Vec<Sibling>,
}

#[derive(Debug)]
struct Sibling {
    /// Gone when nobody has the variant any more.
    variant: Weak<variant::Weights>,
    session: ort::session::Session,
    products: Option<Arc<Products>>,
    /// What the session's initializers point into; declared after it, so freed after it.
    _weights: Vec<Supplied>,
}

impl Siblings {
    /// For a session made of `model` over `weights`, in the model's order.
    pub(super) fn new(
        runtime: &Runtime,
        model: Model,
        weights: &[Supplied],
        options: &SessionOptions,
    ) -> Self {
        let names = model.weights().iter().map(|slot| slot.name.clone());
        let weights = names.zip(weights.iter().cloned()).collect();
        Self {
            runtime: runtime.clone(),
            model,
            options: options.clone(),
            weights,
            made: Vec::new(),
        }
    }

    /// Drops the sessions of variants that nobody has any more.
    pub(super) fn forget_gone(&mut self) {
        let before = self.made.len();
        self.made.retain(|sibling| sibling.variant.strong_count() > 0);
        if self.made.len() < before {
            freed::give_back();
        }
    }

    /// The variant's session, made if there is none yet.
    pub(super) fn session(
        &mut self,
        variant: &Variant,
        products: Option<&Products>,
    ) -> Result<(&mut ort::session::Session, Option<Arc<Products>>), EngineError> {
        let wanted = Arc::downgrade(&variant.0);
        let at = match self.made.iter().position(|sibling| sibling.variant.ptr_eq(&wanted)) {
            Some(at) => at,
            None => {
                let products = products.map(|products| Arc::new(products.shared()));
                let weight = |slot: &WeightSlot| match variant.0.tensors.get(&slot.name) {
                    Some(changed) => {
                        let changed = fit(changed.clone(), slot, |dtype| dtype == slot.dtype)?;
                        Ok(Supplied::Host(value::aligned(changed)))
                    }
                    None => {
                        let base = self.weights.get(&slot.name).cloned();
                        base.ok_or_else(|| EngineError::NoWeight { name: slot.name.clone() })
                    }
                };
                let model = Cow::Borrowed(&self.model);
                let (session, weights) = create::session(
                    &self.runtime,
                    model,
                    products.as_ref(),
                    &weight,
                    &self.options,
                )?;
                self.made.push(Sibling { variant: wanted, session, products, _weights: weights });
                self.made.len() - 1
            }
        };
        let Sibling { session, products, .. } = &mut self.made[at];
        Ok((session, products.clone()))
    }
}
