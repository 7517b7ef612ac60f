use std::{collections::HashMap, sync::Arc};

use cogwheel_tensor::{DType, Tensor};
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
    /// The file, in [`Model::PLACEHOLDER_FOLDER`], that the weights' placeholders point to: empty
    /// and always there, as ONNX Runtime wants a file. Whoever makes a session supplies every
    /// weight of [`Model::weights`] instead.
    pub const PLACEHOLDER: &str = "null";
    /// The folder of [`Model::PLACEHOLDER`].
    pub const PLACEHOLDER_FOLDER: &str = "/dev";

    /// The ONNX protobuf.
    pub fn encode(&self) -> Vec<u8> {
        self.proto.encode_to_vec()
    }

    /// Puts the data of those weights that `data` gives into the model itself; they are no longer
    /// to be supplied. The model file may not grow past 2 GiB.
    #[must_use]
    pub fn contain(mut self, mut data: impl FnMut(&WeightSlot) -> Option<Tensor>) -> Self {
        let mut contained = HashMap::new();
        self.weights.retain(|slot| match data(slot) {
            Some(tensor) => {
                contained.insert(slot.name.clone(), tensor);
                false
            }
            None => true,
        });
        for initializer in self.proto.graph.iter_mut().flat_map(|graph| &mut graph.initializer) {
            if let Some(tensor) = contained.get(&initializer.name) {
                initializer.raw_data = Some(tensor.bytes().to_vec());
                initializer.external_data.clear();
                initializer.data_location = None;
            }
        }
        self
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
