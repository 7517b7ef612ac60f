use cogwheel_graph::{GraphBuilder, GraphError, Value};

use super::{
    attention::{Rotary, attend},
    modulation::{Modulation, TimeEmbedding, modulated_norm},
    stream::{Shapes, Stream, linear},
};
use crate::config::TransformerConfig;

/// diffusers' `CogVideoXBlock`.
pub(super) struct Block<'a> {
    pub(super) config: &'a TransformerConfig,
    pub(super) time: &'a TimeEmbedding,
    pub(super) rotary: Option<&'a Rotary>,
    pub(super) shapes: &'a Shapes,
}

impl Block<'_> {
    /// The residual state after this block, built in a scope that is the block's name. After the
    /// `last` one only the video is read, so the text's feed-forward is left out there.
    pub(super) fn build(
        &self,
        g: &mut GraphBuilder,
        stream: Stream,
        last: bool,
    ) -> Result<Stream, GraphError> {
        let name = g.scope_name();
        let (normed, gates) = self.norm(g, &stream, &format!("{name}.norm1"))?;
        let joint = normed.joint(g)?;
        let attention = format!("{name}.attn1");
        let branch = attend(g, self.config, &attention, self.rotary, self.shapes, &joint)?;
        let mut stream = self.add(g, stream, &gates, &branch)?;
        if last {
            stream.text = None;
        }
        let (normed, gates) = self.norm(g, &stream, &format!("{name}.norm2"))?;
        let joint = normed.joint(g)?;
        let branch = self.feed_forward(g, &format!("{name}.ff"), &joint)?;
        self.add(g, stream, &gates, &branch)
    }

    /// `CogVideoXLayerNormZero`: the state normalized and modulated, and the gates of its branch.
    fn norm(
        &self,
        g: &mut GraphBuilder,
        stream: &Stream,
        name: &str,
    ) -> Result<(Stream, [Value; 2]), GraphError> {
        let [video, text] = self.time.zero(g, &format!("{name}.linear"))?;
        let norm = |g: &mut GraphBuilder, x: &Value, modulation: &Modulation| {
            let name = format!("{name}.norm");
            let vectors = (&modulation.shift, &modulation.factor);
            let epsilon = self.config.norm_eps as f32;
            modulated_norm(g, x, &name, vectors, epsilon, self.config.inner_dim())
        };
        let normed = Stream {
            text: stream.text.as_ref().map(|x| norm(g, x, &text)).transpose()?,
            video: norm(g, &stream.video, &video)?,
        };
        Ok((normed, [video.gate, text.gate]))
    }

    /// Adds a branch, each part through its own gate.
    fn add(
        &self,
        g: &mut GraphBuilder,
        stream: Stream,
        [video_gate, text_gate]: &[Value; 2],
        branch: &Value,
    ) -> Result<Stream, GraphError> {
        let gated = |g: &mut GraphBuilder, x: &Value, branch: &Value, gate: &Value| {
            let branch = g.mul(branch, gate)?;
            g.add(x, &branch)
        };
        let Some(text) = stream.text else {
            return Ok(Stream { text: None, video: gated(g, &stream.video, branch, video_gate)? });
        };
        let length = self.config.max_text_seq_length as i64;
        let [text_branch, video_branch] = g.split_at(branch, 1, length);
        Ok(Stream {
            text: Some(gated(g, &text, &text_branch, text_gate)?),
            video: gated(g, &stream.video, &video_branch, video_gate)?,
        })
    }

    /// diffusers' `FeedForward` with `gelu-approximate`.
    fn feed_forward(
        &self,
        g: &mut GraphBuilder,
        name: &str,
        x: &Value,
    ) -> Result<Value, GraphError> {
        let inner = self.config.inner_dim();
        let x = linear(g, x, &format!("{name}.net.0.proj"), [inner, 4 * inner])?;
        let x = g.gelu_tanh(&x);
        let x = linear(g, &x, &format!("{name}.net.2"), [4 * inner, inner])?;
        Ok(g.reshape_to(&x, &self.shapes.sequences))
    }
}
