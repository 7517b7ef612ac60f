use crate::proto::{AttributeProto, GraphProto};

const FLOAT: i32 = 1;
const INT: i32 = 2;
const STRING: i32 = 3;
const GRAPH: i32 = 5;
const INTS: i32 = 7;

/// An attribute of type `INT`.
pub(crate) fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { name: name.into(), i: Some(value), r#type: INT, ..Default::default() }
}

/// An attribute of type `FLOAT`.
pub(crate) fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto { name: name.into(), f: Some(value), r#type: FLOAT, ..Default::default() }
}

/// An attribute of type `STRING`.
pub(crate) fn string(name: &str, value: &str) -> AttributeProto {
    let s = Some(value.as_bytes().to_vec());
    AttributeProto { name: name.into(), s, r#type: STRING, ..Default::default() }
}

/// An attribute of type `INTS`.
pub(crate) fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto { name: name.into(), ints: values.to_vec(), r#type: INTS, ..Default::default() }
}

/// An attribute of type `GRAPH`.
pub(crate) fn graph(name: &str, value: GraphProto) -> AttributeProto {
    AttributeProto { name: name.into(), g: Some(value), r#type: GRAPH, ..Default::default() }
}
