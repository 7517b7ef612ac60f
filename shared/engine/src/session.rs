mod create;
mod device_weight;
mod linear;
mod sibling;
mod termination;
mod value;
mod variant;

use std::{
    borrow::Cow,
    sync::Arc,
    time::{Duration, Instant},
};

use cogwheel_graph::{Model, WeightSlot};
use cogwheel_tensor::Tensor;
use ort::session::{OutputSelector, SessionInputValue};
use tokio_util::sync::CancellationToken;

use crate::{EngineError, Provider, Runtime, SessionOptions, WeightSource, runtime::arena};
use create::Supplied;
use linear::Products;
use sibling::Siblings;
use termination::Termination;
pub use value::{Input, Output, Placed};
pub use variant::{Variant, VariantInMaking, VariantMaker, WeakVariant};

/// A graph with its weights, ready to run.
#[derive(Debug)]
pub struct Session {
    session: ort::session::Session,
    /// What the session's initializers point into; declared after it, so freed after it.
    _weights: Vec<Supplied>,
    products: Option<Arc<Products>>,
    /// Of a session that has variants.
    siblings: Option<Siblings>,
    /// Of a session that has variants; declared after it and them, so that it ends when they have.
    _arena: Option<arena::Use>,
    provider: Provider,
    inside: Duration,
}

impl Session {
    /// Makes a session of `model`, whose weights `source` supplies.
    ///
    /// The weights are no part of the model file, so its limit of 2 GiB is not theirs. What
    /// becomes of their memory [`SessionOptions::prepack`] decides. A model that is given away, not
    /// lent, is dropped before ONNX Runtime reads its file, so a contained weight is not held twice.
    ///
    /// # Errors
    /// A weight that is missing or unfit is named; otherwise what ONNX Runtime says.
    pub fn new<'m>(
        runtime: &Runtime,
        model: impl Into<Cow<'m, Model>>,
        source: &dyn WeightSource,
        options: &SessionOptions,
    ) -> Result<Self, EngineError> {
        let (model, products) = linear::hand_over(model.into(), source, options)?;
        let products = products.map(Arc::new);
        // What variants are to share is not rearranged.
        let prepack = options.prepack && !options.variants;
        let options = SessionOptions { prepack, ..options.clone() };
        let kept = options.variants.then(|| model.clone().into_owned());
        let weight = |slot: &WeightSlot| Supplied::read(source, slot);
        let (session, weights) =
            create::session(runtime, model, products.as_ref(), &weight, &options)?;
        let siblings = kept.map(|model| Siblings::new(runtime, model, &weights, &options));
        let arena = options.variants.then(|| arena::Use::of(runtime));
        let inside = Duration::ZERO;
        let provider = options.provider;
        Ok(Self { session, _weights: weights, products, siblings, _arena: arena, provider, inside })
    }

    /// Has what many runs are given lie where they compute.
    ///
    /// # Errors
    /// What ONNX Runtime says about the memory.
    pub fn place(&self, tensor: Tensor) -> Result<Placed, EngineError> {
        match self.provider {
            Provider::Cpu => Ok(Placed::Host(tensor)),
            Provider::Cuda => Output::placed(&tensor).map(Placed::Device),
        }
    }

    /// Runs the graph; gives its outputs in the order in which the graph declares them.
    ///
    /// `cancellation` may fire from any thread: the run ends after the operator it is in.
    ///
    /// # Errors
    /// [`EngineError::Cancelled`], or what ONNX Runtime says about the inputs or the run.
    pub fn run(
        &mut self,
        inputs: &[(&str, Input<'_>)],
        cancellation: &CancellationToken,
    ) -> Result<Vec<Output>, EngineError> {
        self.run_variant(None, inputs, cancellation)
    }

    /// As [`Self::run`], with outputs of these names written to where the caller has room for them.
    ///
    /// What a run gives otherwise lies in the session's arena. Kept across runs it is in the way there: the next run finds
    /// no place for what it computes between what was kept, and the arena grows.
    ///
    /// # Errors
    /// As [`Self::run`]; also when the room has another shape than the output.
    pub fn run_into(
        &mut self,
        inputs: &[(&str, Input<'_>)],
        room: Vec<Output>,
        cancellation: &CancellationToken,
    ) -> Result<Vec<Output>, EngineError> {
        self.run_inner(None, inputs, room, cancellation)
    }

    /// Runs the graph with a variant's weights in the place of the session's. Where all that changes are layers that the session
    /// computes by itself,
    /// it costs what a run of the session costs; else the variant has a session of its own, made at its first run, which
    /// shares all other weights.
    ///
    /// # Errors
    /// As [`Self::run`]; [`EngineError::NoVariants`] for a session that was made without them.
    pub fn run_variant(
        &mut self,
        variant: Option<&Variant>,
        inputs: &[(&str, Input<'_>)],
        cancellation: &CancellationToken,
    ) -> Result<Vec<Output>, EngineError> {
        self.run_inner(variant, inputs, Vec::new(), cancellation)
    }

    fn run_inner(
        &mut self,
        variant: Option<&Variant>,
        inputs: &[(&str, Input<'_>)],
        room: Vec<Output>,
        cancellation: &CancellationToken,
    ) -> Result<Vec<Output>, EngineError> {
        let needs_sibling = variant.is_some_and(|variant| !variant.0.tensors.is_empty());
        let outputs = room.into_iter().fold(OutputSelector::default(), Output::offer);
        let termination = Termination::on(cancellation, outputs)?;
        let values = inputs
            .iter()
            .map(|(name, input)| Ok((*name, input.value()?)))
            .collect::<Result<Vec<(&str, SessionInputValue<'_>)>, EngineError>>()?;

        if let Some(siblings) = &mut self.siblings {
            siblings.forget_gone();
        }
        let (session, products) = match (variant, &mut self.siblings) {
            (Some(_), None) => return Err(EngineError::NoVariants),
            (Some(variant), Some(siblings)) if needs_sibling => {
                siblings.session(variant, self.products.as_deref())?
            }
            _ => (&mut self.session, self.products.clone()),
        };
        let use_variant = |variant: Option<&Variant>| {
            if let Some(products) = &products {
                products.use_variant(variant.map(|variant| Arc::clone(&variant.0)));
            }
        };
        use_variant(variant);
        let start = Instant::now();
        let result = session.run_with_options(values, termination.options());
        self.inside += start.elapsed();
        // Nobody but its owner keeps a variant in memory.
        use_variant(None);

        match result {
            Ok(outputs) => {
                Ok(outputs.into_iter().map(|(name, value)| Output::new(name, value)).collect())
            }
            Err(_) if cancellation.is_cancelled() => Err(EngineError::Cancelled),
            Err(error) => Err(EngineError::of("running a graph")(error)),
        }
    }

    /// Time spent inside ONNX Runtime's `Run` by all runs so far.
    pub fn time_inside(&self) -> Duration {
        self.inside
    }
}
