use cogwheel_graph::{GraphBuilder, GraphError, Value};

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

/// A layer norm over the last dimension by the checkpoint's vectors `name`.
pub(super) fn layer_norm(
    g: &mut GraphBuilder,
    x: &Value,
    name: &str,
    channels: usize,
    epsilon: f32,
) -> Result<Value, GraphError> {
    let scale = g.weight(&format!("{name}.weight"), x.dtype(), &[channels]);
    let bias = g.weight(&format!("{name}.bias"), x.dtype(), &[channels]);
    g.layer_norm(x, &scale, Some(&bias), epsilon)
}
