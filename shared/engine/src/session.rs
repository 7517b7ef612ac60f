mod create;
mod linear;
mod termination;
mod value;

use std::{
    borrow::Cow,
    time::{Duration, Instant},
};

use cogwheel_graph::Model;
use cogwheel_tensor::Tensor;
use ort::session::SessionInputValue;
use tokio_util::sync::CancellationToken;

use crate::{EngineError, Runtime, SessionOptions, WeightSource};
use termination::Termination;
pub use value::{Input, Output};

/// A graph with its weights, ready to run.
#[derive(Debug)]
pub struct Session {
    session: ort::session::Session,
    /// What the session's initializers point into; declared after it, so freed after it.
    _weights: Vec<Tensor>,
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
        let (session, weights) = create::session(runtime, model.into(), source, options)?;
        Ok(Self { session, _weights: weights, inside: Duration::ZERO })
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
        let termination = Termination::on(cancellation)?;
        let values = inputs
            .iter()
            .map(|(name, input)| Ok((*name, input.value()?)))
            .collect::<Result<Vec<(&str, SessionInputValue<'_>)>, EngineError>>()?;

        let start = Instant::now();
        let result = self.session.run_with_options(values, termination.options());
        self.inside += start.elapsed();

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
