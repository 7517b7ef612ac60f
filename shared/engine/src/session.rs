mod create;
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

use cogwheel_graph::Model;
use cogwheel_tensor::Tensor;
use ort::session::SessionInputValue;
use tokio_util::sync::CancellationToken;

use crate::{EngineError, Runtime, SessionOptions, WeightSource};
use linear::Products;
use sibling::Siblings;
use termination::Termination;
pub use value::{Input, Output};
pub use variant::{Variant, VariantInMaking, VariantMaker};

/// A graph with its weights, ready to run.
#[derive(Debug)]
pub struct Session {
    session: ort::session::Session,
    /// What the session's initializers point into; declared after it, so freed after it.
    _weights: Vec<Tensor>,
    products: Option<Arc<Products>>,
    variants: Option<Variants>,
    inside: Duration,
}

/// What a session with variants has beside.
#[derive(Debug)]
struct Variants {
    maker: VariantMaker,
    siblings: Siblings,
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
        let model = model.into();
        let wanted = options.variants.then(|| Cow::Owned(model.clone().into_owned()));
        let (model, products) = linear::hand_over(model, source, options)?;
        let products = products.map(Arc::new);
        // What variants are to share is not rearranged.
        let prepack = options.prepack && wanted.is_none();
        let options = SessionOptions { prepack, ..options.clone() };
        let original: Option<Cow<'_, Model>> = wanted;
        let handed_over = original.as_ref().map(|_| model.clone().into_owned());
        let (session, weights) =
            create::session(runtime, model, products.as_ref(), source, &options)?;
        let variants = original.zip(handed_over).map(|(original, handed_over)| Variants {
            maker: VariantMaker::new(&original, products.as_ref().map(|products| products.unit())),
            siblings: Siblings::new(runtime, handed_over, &weights, &options),
        });
        Ok(Self { session, _weights: weights, products, variants, inside: Duration::ZERO })
    }

    /// Makes variants of this session, if [`SessionOptions::variants`] asked for them.
    pub fn variant_maker(&self) -> Option<VariantMaker> {
        self.variants.as_ref().map(|variants| variants.maker.clone())
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

    /// Runs the graph with a variant's weights in the place of the session's. Where the matrix unit has all that changes,
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
        let termination = Termination::on(cancellation)?;
        let values = inputs
            .iter()
            .map(|(name, input)| Ok((*name, input.value()?)))
            .collect::<Result<Vec<(&str, SessionInputValue<'_>)>, EngineError>>()?;

        let (session, products) = match (variant, &mut self.variants) {
            (None, _) => (&mut self.session, self.products.clone()),
            (Some(_), None) => return Err(EngineError::NoVariants),
            (Some(variant), Some(variants)) if !variant.0.tensors.is_empty() => {
                variants.siblings.session(variant, self.products.as_deref())?
            }
            (Some(_), Some(_)) => (&mut self.session, self.products.clone()),
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
