use cogwheel_graph::GraphError;
use cogwheel_tensor::TensorError;
use cogwheel_weights::WeightsError;

/// Why a graph could not be built from a config and weights.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The weights are not those that the config calls for.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The operators do not fit each other.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// Prompts so long that the biases for their pairs of tokens would fill the memory.
    #[error(
        "expected at most {limit} position biases, found {heads} heads x {tokens} x {tokens} tokens"
    )]
    PositionBias {
        /// Most that a graph is given.
        limit: usize,
        /// Heads of the text encoder.
        heads: usize,
        /// Tokens of a prompt.
        tokens: usize,
    },
    /// A tensor made for the graph does not hold together.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}
