use cogwheel_graph::{GraphBuilder, GraphError, Value};

use crate::config::TransformerConfig;

/// The residual state: `[batch, length, inner_dim]` and `[batch, tokens, inner_dim]`.
///
/// The two are kept apart because they are modulated apart; what attends is their concatenation.
pub(super) struct Stream {
    /// The text's tokens; none once nothing reads them.
    pub(super) text: Option<Value>,
    /// The video's tokens.
    pub(super) video: Value,
}

impl Stream {
    /// Text and video as one sequence, text first.
    pub(super) fn joint(&self, g: &mut GraphBuilder) -> Result<Value, GraphError> {
        match &self.text {
            Some(text) => g.concat(&[text, &self.video], 1),
            None => Ok(self.video.clone()),
        }
    }
}

/// Shapes that depend on the batch of the run.
pub(super) struct Shapes {
    /// `[batch, -1, inner_dim]`.
    pub(super) sequences: Value,
}

impl Shapes {
    /// `like` is any value of `[batch, ...]`.
    pub(super) fn of(
        g: &mut GraphBuilder,
        like: &Value,
        config: &TransformerConfig,
    ) -> Result<Self, GraphError> {
        let shape = g.shape_of(like);
        let batch = g.slice(&shape, 0, 0, 1);
        let rest = g.ints(&[-1, config.inner_dim() as i64]);
        Ok(Self { sequences: g.concat(&[&batch, &rest], 0)? })
    }
}

/// `[..., in]` as rows, through the linear layer `name` of the checkpoint: `[rows, out]`.
pub(super) fn linear(
    g: &mut GraphBuilder,
    x: &Value,
    name: &str,
    [input, output]: [usize; 2],
) -> Result<Value, GraphError> {
    let weight = g.weight(&format!("{name}.weight"), x.dtype(), &[output, input]);
    let bias = g.weight(&format!("{name}.bias"), x.dtype(), &[output]);
    let rows = g.reshape(x, &[-1, input as i64]);
    g.linear(&rows, &weight, Some(&bias))
}
