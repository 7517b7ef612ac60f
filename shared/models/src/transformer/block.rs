use cogwheel_graph::{GraphBuilder, GraphError, Value};

use super::{
    chunks::Layout,
    linear::{layer_norm, linear},
    modulation::{Modulation, TimeEmbedding},
    output::Output,
};
use crate::config::TransformerConfig;

/// Epsilon of the norms of queries and keys, a constant of `CogVideoXBlock`'s.
const QK_EPSILON: f32 = 1e-6;

/// diffusers' `CogVideoXBlock` without the attention in its middle. States, and what attention
/// takes and gives, are `[chunks, rows, inner_dim]`.
pub(super) struct Block<'a> {
    config: &'a TransformerConfig,
    layout: &'a Layout,
    name: String,
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
        let name = format!("transformer_blocks.{index}");
        let norm1 = time.zero(g, &format!("{name}.norm1"), layout)?;
        let norm2 = time.zero(g, &format!("{name}.norm2"), layout)?;
        Ok(Self { config, layout, name, norm1, norm2 })
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
        let (inner, head) = (self.config.inner_dim(), self.config.attention_head_dim);
        let x = g.layer_norm(x, scale, Some(bias), self.config.norm_eps as f32)?;
        let project = |g: &mut GraphBuilder, part: &str| {
            linear(g, &x, &format!("{}.attn1.{part}", self.name), [inner, inner])
        };
        let head_norm = |g: &mut GraphBuilder, x: &Value, part: &str| {
            let heads = g.reshape(x, &[-1, head as i64]);
            // The result stays a row a head: to give it another shape here would copy it, as
            // what a pass gives has its place already.
            layer_norm(g, &heads, &format!("{}.attn1.{part}", self.name), head, QK_EPSILON)
        };
        let q = project(g, "to_q")?;
        let q = head_norm(g, &q, "norm_q")?;
        let k = project(g, "to_k")?;
        let k = head_norm(g, &k, "norm_k")?;
        Ok([q, k, project(g, "to_v")?])
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
        let inner = self.config.inner_dim();
        let layer = |part: &str| format!("{}.{part}", self.name);
        let branch = linear(g, attended, &layer("attn1.to_out.0"), [inner, inner])?;
        let branch = g.mul(&branch, gate1)?;
        let x = g.add(x, &branch)?;
        let branch = g.layer_norm(&x, scale, Some(bias), self.config.norm_eps as f32)?;
        let branch = linear(g, &branch, &layer("ff.net.0.proj"), [inner, 4 * inner])?;
        let branch = g.gelu_tanh(&branch);
        let branch = linear(g, &branch, &layer("ff.net.2"), [4 * inner, inner])?;
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
