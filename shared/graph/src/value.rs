use std::sync::Arc;

use cogwheel_tensor::DType;
use prost::Message as _;

use crate::proto;

/// One edge of the graph: the output of a node, an input, a constant or a weight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    name: Arc<str>,
    dtype: DType,
}

impl Value {
    pub(crate) fn new(name: impl Into<Arc<str>>, dtype: DType) -> Self {
        Self { name: name.into(), dtype }
    }

    /// Name of the edge in the ONNX graph.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Element type of what flows along it.
    pub fn dtype(&self) -> DType {
        self.dtype
    }
}

/// A dimension of an input or output: known when the graph is built, or named and free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dim {
    /// Known when the graph is built.
    Fixed(usize),
    /// Free; equal names are equal sizes within one run.
    Free(&'static str),
}

/// A weight that the graph names and the engine supplies when it makes a session.
///
/// The name is the checkpoint's own, so that a graph documents itself and an adapter's target is
/// a look-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightSlot {
    /// Tensor name in the checkpoint.
    pub name: String,
    /// The dtype the graph computes with.
    pub dtype: DType,
    /// The shape the graph expects.
    pub shape: Vec<usize>,
}

/// A finished graph and the weights it still needs.
#[derive(Clone, Debug)]
pub struct Model {
    pub(crate) proto: proto::ModelProto,
    pub(crate) weights: Vec<WeightSlot>,
}

impl Model {
    /// The file that the weights' placeholders point to. It never exists: whoever makes a
    /// session supplies every weight of [`Model::weights`] instead.
    pub const PLACEHOLDER: &str = "supplied-by-the-session";

    /// The ONNX protobuf.
    pub fn encode(&self) -> Vec<u8> {
        self.proto.encode_to_vec()
    }

    /// The weights to supply, in the order in which the graph first uses them.
    pub fn weights(&self) -> &[WeightSlot] {
        &self.weights
    }

    /// Names of the graph's inputs, in order.
    pub fn inputs(&self) -> impl Iterator<Item = &str> {
        self.graph().input.iter().map(|input| input.name.as_str())
    }

    /// Names of the graph's outputs, in order.
    pub fn outputs(&self) -> impl Iterator<Item = &str> {
        self.graph().output.iter().map(|output| output.name.as_str())
    }

    /// The graph itself, for tests and tools that look inside.
    pub fn graph(&self) -> &proto::GraphProto {
        self.proto.graph.as_ref().expect("the builder always sets the graph")
    }
}
