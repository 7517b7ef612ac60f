use cogwheel_graph::{Dim, GraphBuilder, Value};
use cogwheel_tensor::DType;
use cogwheel_weights::Weights;

use super::causal_conv::{ConvCache, LEAD};
use crate::{BuildError, config::VaeConfig};

/// The encoder's or decoder's graph under way, and what all its parts refer to.
pub(super) struct Builder<'a> {
    pub(super) graph: GraphBuilder,
    pub(super) config: &'a VaeConfig,
    pub(super) weights: &'a Weights,
    /// Which frames go in front of a convolution's input where nothing is cached.
    pub(super) lead: Value,
    pub(super) caches: Vec<(ConvCache, Value)>,
}

impl<'a> Builder<'a> {
    /// With the first input, [frames, channels, height, width], and [`LEAD`].
    pub(super) fn new(
        name: &str,
        config: &'a VaeConfig,
        weights: &'a Weights,
        (input, dims): (&str, [Dim; 4]),
    ) -> Result<(Self, Value), BuildError> {
        let mut graph = GraphBuilder::new(name);
        let input = graph.input(input, DType::F32, &dims)?;
        let lead = graph.input(LEAD, DType::I64, &[Dim::Free("lead")])?;
        Ok((Self { graph, config, weights, lead, caches: Vec::new() }, input))
    }

    /// Declares an output, and after it that of every cache.
    pub(super) fn declare_outputs(
        &mut self,
        (name, value, dims): (&str, &Value, [Dim; 4]),
    ) -> Result<Vec<ConvCache>, BuildError> {
        self.graph.output(name, value, &dims)?;
        let mut caches = Vec::with_capacity(self.caches.len());
        for (cache, value) in self.caches.drain(..) {
            cache.declare_output(&mut self.graph, &value)?;
            caches.push(cache);
        }
        Ok(caches)
    }
}
