use cogwheel_graph::{GraphBuilder, GraphError, Value};
use cogwheel_tensor::DType;

use super::{
    attention::{self, Rotary},
    embedding,
    layers::Layers,
    modulation::{Modulation, TimeEmbedding},
    output::Output,
};
use crate::config::TransformerConfig;

/// The graph that computes all tokens at once. Text and video are modulated apart and otherwise lie one behind the other, as in
/// diffusers: `[batch, text + video tokens, inner_dim]`.
pub(super) fn build(
    g: &mut GraphBuilder,
    config: &TransformerConfig,
    dtype: DType,
) -> Result<(), GraphError> {
    let time = TimeEmbedding::new(g, config, dtype)?;
    let rotary = Rotary::new(g, config, dtype)?;
    let joint = embedding::embed(g, config, dtype)?;
    let sequences = Sequences::like(g, config, &joint)?;
    let [mut text, mut video] = sequences.apart(g, &joint);

    for index in 0..config.num_layers {
        let layers = Layers::new(config, index);
        let [norm1, norm2] = layers.modulations(g, &time)?;
        let [video1, text1] = parts(g, &norm1);
        let [video2, text2] = parts(g, &norm2);
        let normed_text = layers.norm(g, &text, &text1.scale, &text1.bias)?;
        let normed_video = layers.norm(g, &video, &video1.scale, &video1.bias)?;
        let joint = g.concat(&[&normed_text, &normed_video], 1)?;
        let projected = layers.queries_keys_values(g, &joint)?;
        let projected = projected.map(|x| sequences.shaped(g, &x));
        let attended = attention::attend_sequences(g, config, rotary.as_ref(), projected)?;
        if index + 1 < config.num_layers {
            let branch = layers.project_out(g, &attended)?;
            let branch = sequences.shaped(g, &branch);
            let [branch_text, branch_video] = sequences.apart(g, &branch);
            text = gated(g, &text, &branch_text, &text1)?;
            video = gated(g, &video, &branch_video, &video1)?;
            let normed_text = layers.norm(g, &text, &text2.scale, &text2.bias)?;
            let normed_video = layers.norm(g, &video, &video2.scale, &video2.bias)?;
            let joint = g.concat(&[&normed_text, &normed_video], 1)?;
            let branch = layers.feed_forward(g, &joint)?;
            let branch = sequences.shaped(g, &branch);
            let [branch_text, branch_video] = sequences.apart(g, &branch);
            text = gated(g, &text, &branch_text, &text2)?;
            video = gated(g, &video, &branch_video, &video2)?;
        } else {
            let [_, attended] = sequences.apart(g, &attended);
            let branch = layers.project_out(g, &attended)?;
            let branch = sequences.shaped(g, &branch);
            video = gated(g, &video, &branch, &video1)?;
            let normed = layers.norm(g, &video, &video2.scale, &video2.bias)?;
            let branch = layers.feed_forward(g, &normed)?;
            let branch = sequences.shaped(g, &branch);
            video = gated(g, &video, &branch, &video2)?;
        }
    }
    let output = Output::new(g, config, &time)?;
    let prediction = output.project(g, &video)?;
    let prediction = sequences.shaped_in(g, &prediction, output.features)?;
    output.give(g, &prediction)
}

/// `x + gate * branch`.
fn gated(
    g: &mut GraphBuilder,
    x: &Value,
    branch: &Value,
    modulation: &Modulation,
) -> Result<Value, GraphError> {
    let branch = g.mul(branch, &modulation.gate)?;
    g.add(x, &branch)
}

/// What modulates the video, and what the text, as vectors.
fn parts(g: &mut GraphBuilder, modulation: &Modulation) -> [Modulation; 2] {
    let Modulation { scale, bias, gate } = modulation;
    let [scale, bias, gate] = [scale, bias, gate].map(|vectors| {
        let parts: [Value; 2] = g.split(vectors, 0);
        parts.map(|part| g.reshape(&part, &[-1]))
    });
    let [[video_scale, text_scale], [video_bias, text_bias], [video_gate, text_gate]] =
        [scale, bias, gate];
    [
        Modulation { scale: video_scale, bias: video_bias, gate: video_gate },
        Modulation { scale: text_scale, bias: text_bias, gate: text_gate },
    ]
}

/// How rows are sequences again.
struct Sequences {
    /// i64 `[1]`.
    batch: Value,
    /// i64: batch, any number of tokens, inner_dim.
    shape: Value,
    text_tokens: i64,
}

impl Sequences {
    fn like(
        g: &mut GraphBuilder,
        config: &TransformerConfig,
        joint: &Value,
    ) -> Result<Self, GraphError> {
        let shape = g.shape_of(joint);
        let batch = g.slice(&shape, 0, 0, 1);
        let rest = g.ints(&[-1, config.inner_dim() as i64]);
        let shape = g.concat(&[&batch, &rest], 0)?;
        Ok(Self { batch, shape, text_tokens: config.max_text_seq_length as i64 })
    }

    /// Rows as `[batch, tokens, inner_dim]`.
    fn shaped(&self, g: &mut GraphBuilder, x: &Value) -> Value {
        g.reshape_to(x, &self.shape)
    }

    /// Rows as `[batch, tokens, features]`.
    fn shaped_in(
        &self,
        g: &mut GraphBuilder,
        x: &Value,
        features: usize,
    ) -> Result<Value, GraphError> {
        let rest = g.ints(&[-1, features as i64]);
        let shape = g.concat(&[&self.batch, &rest], 0)?;
        Ok(g.reshape_to(x, &shape))
    }

    /// The text's tokens and the video's.
    fn apart(&self, g: &mut GraphBuilder, x: &Value) -> [Value; 2] {
        g.split_at(x, 1, self.text_tokens)
    }
}
