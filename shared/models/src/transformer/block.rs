use cogwheel_graph::{GraphBuilder, GraphError, Value};

use super::{
    chunks::Layout,
    layers::Layers,
    modulation::{Modulation, TimeEmbedding},
    output::Output,
};
use crate::config::TransformerConfig;

/// diffusers' `CogVideoXBlock` without the attention in its middle. States, and what attention
/// takes and gives, are `[chunks, rows, inner_dim]`.
pub(super) struct Block<'a> {
    layers: Layers<'a>,
    layout: &'a Layout,
    norm1: Modulation,
    norm2: Modulation,
}

impl<'a> Block<'a> {
    pub(super) fn new(
        g: &mut GraphBuilder,
        config: &'a TransformerConfig,
        time: &TimeEmbedding,
        layout: &'a Layout,
        index: usize,
    ) -> Result<Self, GraphError> {
        let layers = Layers::new(config, index);
        let [norm1, norm2] = layers.modulations(g, time)?;
        let (norm1, norm2) = (norm1.for_each_chunk(g, layout), norm2.for_each_chunk(g, layout));
        Ok(Self { layers, layout, norm1, norm2 })
    }

    /// From the state before the block to queries, keys and values.
    pub(super) fn begin(
        &self,
        g: &mut GraphBuilder,
        state: &Value,
    ) -> Result<[Value; 3], GraphError> {
        let values = [state, &self.norm1.scale, &self.norm1.bias];
        let results = g.each(&values, |g, each| {
            let [x, scale, bias] = array(each);
            Ok(self.project(g, x, scale, bias)?.into())
        })?;
        Ok(array(&results).map(Value::clone))
    }

    /// From the state before this block and what was attended to the state behind it, and the
    /// `next` block's queries, keys and values.
    pub(super) fn end_and_begin(
        &self,
        g: &mut GraphBuilder,
        state: &Value,
        attended: &Value,
        next: &Self,
    ) -> Result<(Value, [Value; 3]), GraphError> {
        let mut values = vec![state, attended, &next.norm1.scale, &next.norm1.bias];
        values.extend(self.vectors());
        let results = g.each(&values, |g, each| {
            let ([x, attended, scale, bias], vectors) = split(each);
            let x = self.end(g, x, attended, vectors)?;
            let projected = next.project(g, &x, scale, bias)?;
            Ok([vec![x], projected.into()].concat())
        })?;
        let [state, q, k, v] = array(&results).map(Value::clone);
        Ok((state, [q, k, v]))
    }

    /// From the video's part of the state before this block, the last one, and of what was
    /// attended to the prediction, `[video chunks, rows, features]`.
    pub(super) fn end_and_project(
        &self,
        g: &mut GraphBuilder,
        state: &Value,
        attended: &Value,
        output: &Output<'_>,
    ) -> Result<Value, GraphError> {
        let vectors = self.vectors().map(|vectors| self.layout.first_video_chunks(g, vectors));
        let mut values = vec![state, attended];
        values.extend(&vectors);
        let results = g.each(&values, |g, each| {
            let ([x, attended], vectors) = split(each);
            let x = self.end(g, x, attended, vectors)?;
            Ok(vec![output.project(g, &x)?])
        })?;
        let [prediction] = array(&results);
        Ok(prediction.clone())
    }

    /// `CogVideoXLayerNormZero` and the projections of attention, on one chunk.
    fn project(
        &self,
        g: &mut GraphBuilder,
        x: &Value,
        scale: &Value,
        bias: &Value,
    ) -> Result<[Value; 3], GraphError> {
        let x = self.layers.norm(g, x, scale, bias)?;
        self.layers.queries_keys_values(g, &x)
    }

    /// What comes behind attention, on one chunk: its output projection, then diffusers'
    /// `FeedForward` with `gelu-approximate`, each added through its gate.
    fn end(
        &self,
        g: &mut GraphBuilder,
        x: &Value,
        attended: &Value,
        [gate1, scale, bias, gate2]: [&Value; 4],
    ) -> Result<Value, GraphError> {
        let branch = self.layers.project_out(g, attended)?;
        let branch = g.mul(&branch, gate1)?;
        let x = g.add(x, &branch)?;
        let branch = self.layers.norm(g, &x, scale, bias)?;
        let branch = self.layers.feed_forward(g, &branch)?;
        let branch = g.mul(&branch, gate2)?;
        g.add(&x, &branch)
    }

    /// What [`Self::end`] is modulated by.
    fn vectors(&self) -> [&Value; 4] {
        [&self.norm1.gate, &self.norm2.scale, &self.norm2.bias, &self.norm2.gate]
    }
}

/// As many values as the pass was given, or gave.
fn array<const N: usize>(values: &[Value]) -> [&Value; N] {
    assert_eq!(values.len(), N, "a pass over the chunks keeps its number of values");
    std::array::from_fn(|index| &values[index])
}

/// The first `N` values and the block's vectors behind them.
fn split<const N: usize>(values: &[Value]) -> ([&Value; N], [&Value; 4]) {
    let (first, vectors) = values.split_at(N);
    (array(first), array(vectors))
}
