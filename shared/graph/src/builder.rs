use std::collections::HashSet;

use cogwheel_tensor::{DType, Tensor};

use crate::GraphError;
use crate::proto::{
    AttributeProto, DimensionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    StringStringEntryProto, TensorProto, TensorShapeProto, TensorTypeProto, TypeProto,
    ValueInfoProto, element_type,
};
use crate::value::{Dim, Model, Value, WeightSlot};

/// Version of ONNX's own operator set; it goes with IR version 10.
pub const OPSET: i64 = 21;
const IR_VERSION: i64 = 10;

/// Collects nodes in the order in which they are applied; [`GraphBuilder::finish`] makes the model.
///
/// Operators are methods, grouped by file under `ops/`. Each names its result after the scope it
/// is built in (see [`GraphBuilder::scoped`]), so a profile reads like the model's module tree.
#[derive(Debug)]
pub struct GraphBuilder {
    /// The graph being built: the model's, or for a while a part's.
    graph: GraphProto,
    /// Constants and weights, all the model's own: parts see them from there.
    initializers: Vec<TensorProto>,
    weights: Vec<WeightSlot>,
    names: HashSet<String>,
    scope: Vec<String>,
    serial: usize,
}

impl GraphBuilder {
    /// An empty graph called `name`.
    pub fn new(name: &str) -> Self {
        Self {
            graph: GraphProto { name: name.to_owned(), ..GraphProto::default() },
            initializers: Vec::new(),
            weights: Vec::new(),
            names: HashSet::new(),
            scope: Vec::new(),
            serial: 0,
        }
    }

    /// Declares an input of the graph.
    ///
    /// # Errors
    /// [`GraphError::Duplicate`] when the name is taken.
    pub fn input(&mut self, name: &str, dtype: DType, dims: &[Dim]) -> Result<Value, GraphError> {
        self.claim(name)?;
        self.graph.input.push(value_info(name, dtype, dims));
        Ok(Value::new(name, dtype))
    }

    /// Declares `value` an output of the graph under the name `name`.
    ///
    /// # Errors
    /// [`GraphError::Duplicate`] when the name is taken.
    pub fn output(&mut self, name: &str, value: &Value, dims: &[Dim]) -> Result<(), GraphError> {
        self.claim(name)?;
        self.push("", "Identity", vec![value.name().into()], vec![name.into()], vec![]);
        self.graph.output.push(value_info(name, value.dtype(), dims));
        Ok(())
    }

    /// A weight that the session will supply; asking twice for one name gives the same value.
    pub fn weight(&mut self, name: &str, dtype: DType, shape: &[usize]) -> Value {
        if self.names.insert(name.to_owned()) {
            let entry =
                |key: &str, value: String| StringStringEntryProto { key: key.into(), value };
            self.initializers.push(TensorProto {
                dims: shape.iter().map(|&dim| dim as i64).collect(),
                data_type: element_type(dtype),
                name: name.to_owned(),
                external_data: vec![entry("location", Model::PLACEHOLDER.to_owned())],
                data_location: Some(1),
                ..TensorProto::default()
            });
            let slot = WeightSlot { name: name.to_owned(), dtype, shape: shape.to_vec() };
            self.weights.push(slot);
        }
        Value::new(name, dtype)
    }

    /// A constant contained in the model.
    ///
    /// Weights that ONNX Runtime rearranges or folds while it makes a session (those of `Conv`,
    /// small operands of constant expressions) must come this way: a supplied initializer is not
    /// read by its optimizer, which would silently work on the placeholder.
    pub fn constant(&mut self, name: &str, tensor: &Tensor) -> Value {
        let name = self.fresh(name);
        self.initializers.push(TensorProto {
            dims: tensor.shape().iter().map(|&dim| dim as i64).collect(),
            data_type: element_type(tensor.dtype()),
            name: name.clone(),
            raw_data: Some(tensor.bytes().to_vec()),
            ..TensorProto::default()
        });
        Value::new(name, tensor.dtype())
    }

    /// A constant vector of integers: shapes, axes, indices.
    pub fn ints(&mut self, values: &[i64]) -> Value {
        let tensor = Tensor::from_i64([values.len()], values.to_vec())
            .expect("a vector fills the shape of its own length");
        self.constant("ints", &tensor)
    }

    /// A constant fp32 scalar.
    pub fn scalar(&mut self, value: f32) -> Value {
        let tensor = Tensor::from_f32([], vec![value]).expect("one value fills a scalar");
        self.constant("scalar", &tensor)
    }

    /// Builds a part under a scope whose name prefixes those of its nodes.
    pub fn scoped<T>(&mut self, name: impl Into<String>, build: impl FnOnce(&mut Self) -> T) -> T {
        self.scope.push(name.into());
        let result = build(self);
        self.scope.pop();
        result
    }

    /// The scopes being built in, joined by `/`; empty outside of any.
    pub fn scope_name(&self) -> String {
        self.scope.join("/")
    }

    /// The finished model.
    pub fn finish(mut self) -> Model {
        self.graph.initializer = self.initializers;
        let opset = |domain: &str, version| OperatorSetIdProto {
            domain: domain.to_owned(),
            version: Some(version),
        };
        let proto = ModelProto {
            ir_version: Some(IR_VERSION),
            producer_name: "cogwheel".to_owned(),
            graph: Some(self.graph),
            opset_import: vec![opset("", OPSET), opset("com.microsoft", 1)],
        };
        Model { proto, weights: self.weights }
    }

    /// Builds a part that a node holds (the body of a loop) on inputs of these dtypes; it sees
    /// every value of the graph around it.
    pub(crate) fn part(
        &mut self,
        dtypes: &[DType],
        build: impl FnOnce(&mut Self, &[Value]) -> Result<Vec<Value>, GraphError>,
    ) -> Result<(GraphProto, Vec<DType>), GraphError> {
        let name = self.fresh("part");
        let outer = std::mem::replace(&mut self.graph, GraphProto { name, ..Default::default() });
        let inputs: Vec<Value> =
            dtypes.iter().map(|&dtype| Value::new(self.fresh("each"), dtype)).collect();
        let result = build(self, &inputs);
        let mut part = std::mem::replace(&mut self.graph, outer);
        let results = result?;
        part.input = inputs.iter().map(|v| untyped_shape(v.name(), v.dtype())).collect();
        part.output = results.iter().map(|v| untyped_shape(v.name(), v.dtype())).collect();
        Ok((part, results.iter().map(Value::dtype).collect()))
    }

    /// Applies an operator with one result; an absent operand is `None`.
    pub(crate) fn apply(
        &mut self,
        (domain, operator): (&str, &str),
        operands: &[Option<&Value>],
        attributes: Vec<AttributeProto>,
        dtype: DType,
    ) -> Value {
        let [value] = self.apply_many((domain, operator), operands, attributes, [dtype]);
        value
    }

    /// Applies an operator with several results.
    pub(crate) fn apply_many<const N: usize>(
        &mut self,
        (domain, operator): (&str, &str),
        operands: &[Option<&Value>],
        attributes: Vec<AttributeProto>,
        dtypes: [DType; N],
    ) -> [Value; N] {
        let inputs = operands.iter().map(|v| v.map_or("", Value::name).to_owned()).collect();
        let results = dtypes.map(|dtype| Value::new(self.fresh(operator), dtype));
        let outputs = results.iter().map(|value| value.name().to_owned()).collect();
        self.push(domain, operator, inputs, outputs, attributes);
        results
    }

    /// Applies an operator whose number of results is known only now.
    pub(crate) fn apply_all(
        &mut self,
        (domain, operator): (&str, &str),
        operands: &[&Value],
        attributes: Vec<AttributeProto>,
        dtypes: &[DType],
    ) -> Vec<Value> {
        let inputs = operands.iter().map(|value| value.name().to_owned()).collect();
        let results: Vec<Value> =
            dtypes.iter().map(|&dtype| Value::new(self.fresh(operator), dtype)).collect();
        let outputs = results.iter().map(|value| value.name().to_owned()).collect();
        self.push(domain, operator, inputs, outputs, attributes);
        results
    }

    fn push(
        &mut self,
        domain: &str,
        operator: &str,
        input: Vec<String>,
        output: Vec<String>,
        attribute: Vec<AttributeProto>,
    ) {
        let name = output.first().cloned().unwrap_or_default();
        self.graph.node.push(NodeProto {
            input,
            output,
            name,
            op_type: operator.to_owned(),
            attribute,
            domain: domain.to_owned(),
        });
    }

    fn claim(&mut self, name: &str) -> Result<(), GraphError> {
        if self.names.insert(name.to_owned()) {
            Ok(())
        } else {
            Err(GraphError::Duplicate(name.to_owned()))
        }
    }

    /// A name nothing else has: the scope, what it is, a serial number.
    fn fresh(&mut self, what: &str) -> String {
        self.serial += 1;
        let mut name = self.scope_name();
        name.push('/');
        name.push_str(what);
        name.push('#');
        name.push_str(&self.serial.to_string());
        name
    }
}

/// A tensor of a dtype and any shape.
fn untyped_shape(name: &str, dtype: DType) -> ValueInfoProto {
    let tensor_type = TensorTypeProto { elem_type: element_type(dtype), shape: None };
    ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(TypeProto { tensor_type: Some(tensor_type) }),
    }
}

fn value_info(name: &str, dtype: DType, dims: &[Dim]) -> ValueInfoProto {
    let dim = dims
        .iter()
        .map(|dim| match dim {
            Dim::Fixed(size) => {
                DimensionProto { dim_value: Some(*size as i64), ..DimensionProto::default() }
            }
            Dim::Free(name) => {
                DimensionProto { dim_param: Some((*name).to_owned()), ..DimensionProto::default() }
            }
        })
        .collect();
    let tensor_type =
        TensorTypeProto { elem_type: element_type(dtype), shape: Some(TensorShapeProto { dim }) };
    ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(TypeProto { tensor_type: Some(tensor_type) }),
    }
}
