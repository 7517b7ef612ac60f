//! Linear layers handed over to an operator of the caller's, which keeps their weights itself.

use std::{borrow::Cow, collections::HashSet};

use crate::{
    Model, WeightSlot,
    ops::attribute,
    proto::{AttributeProto, GraphProto, NodeProto, OperatorSetIdProto},
};

/// An operator of another domain that computes `x @ weight^T + bias`: its operands are `x` and, where there is one, the
/// bias; its attributes [`LinearOperator::WEIGHT`] and [`LinearOperator::RESULT`] name the weight and what it computes.
#[derive(Clone, Copy, Debug)]
pub struct LinearOperator {
    /// Its domain, of which version 1 is used.
    pub domain: &'static str,
    /// Its name.
    pub name: &'static str,
}

impl LinearOperator {
    /// The attribute that names the weight.
    pub const WEIGHT: &str = "weight";
    /// The attribute that names the result, as nothing else in the graph is named.
    pub const RESULT: &str = "result";
}

impl Model {
    /// The supplied weights that nothing but linear layers use, also within loops.
    pub fn linear_weights(&self) -> Vec<WeightSlot> {
        let mut others = HashSet::new();
        let mut linears = HashSet::new();
        sort_uses(self.graph(), &mut linears, &mut others);
        let is_linear = |slot: &&WeightSlot| {
            let name = slot.name.as_str();
            linears.contains(name) && !others.contains(name)
        };
        self.weights.iter().filter(is_linear).cloned().collect()
    }

    /// The model in which `operator` computes the linear layers of these weights, out of [`Model::linear_weights`]. It
    /// names and needs the weights no more.
    #[must_use]
    pub fn hand_over(mut self, weights: &[WeightSlot], operator: LinearOperator) -> Self {
        let names: HashSet<&str> = weights.iter().map(|slot| slot.name.as_str()).collect();
        self.weights.retain(|slot| !names.contains(slot.name.as_str()));
        if let Some(graph) = &mut self.proto.graph {
            graph.initializer.retain(|initializer| !names.contains(initializer.name.as_str()));
            rewrite(graph, &names, operator);
        }
        let domain = operator.domain.to_owned();
        self.proto.opset_import.push(OperatorSetIdProto { domain, version: Some(1) });
        self
    }
}

/// A model that is given away.
impl From<Model> for Cow<'_, Model> {
    fn from(model: Model) -> Self {
        Cow::Owned(model)
    }
}

/// A model that is lent.
impl<'a> From<&'a Model> for Cow<'a, Model> {
    fn from(model: &'a Model) -> Self {
        Cow::Borrowed(model)
    }
}

/// Collects the names that are weights of linear layers, and those that are used in any other way.
fn sort_uses<'a>(
    graph: &'a GraphProto,
    linears: &mut HashSet<&'a str>,
    others: &mut HashSet<&'a str>,
) {
    for node in &graph.node {
        for (place, input) in node.input.iter().enumerate() {
            if place == 1 && is_linear(node) {
                linears.insert(input);
            } else {
                others.insert(input);
            }
        }
        for part in node.attribute.iter().filter_map(|attribute| attribute.g.as_ref()) {
            sort_uses(part, linears, others);
        }
    }
    others.extend(graph.output.iter().map(|output| output.name.as_str()));
}

/// Whether a node is what `GraphBuilder::linear` makes.
fn is_linear(node: &NodeProto) -> bool {
    let transposes = |attribute: &AttributeProto| *attribute == attribute::int("transB", 1);
    node.domain.is_empty()
        && node.op_type == "Gemm"
        && matches!(node.attribute.as_slice(), [attribute] if transposes(attribute))
}

fn rewrite(graph: &mut GraphProto, names: &HashSet<&str>, operator: LinearOperator) {
    for node in &mut graph.node {
        if is_linear(node) && node.input.get(1).is_some_and(|name| names.contains(name.as_str())) {
            let weight = node.input.remove(1);
            operator.domain.clone_into(&mut node.domain);
            operator.name.clone_into(&mut node.op_type);
            let result = node.output.first().map_or("", String::as_str);
            node.attribute = vec![
                attribute::string(LinearOperator::WEIGHT, &weight),
                attribute::string(LinearOperator::RESULT, result),
            ];
        }
        for part in node.attribute.iter_mut().filter_map(|attribute| attribute.g.as_mut()) {
            rewrite(part, names, operator);
        }
    }
}

#[cfg(test)]
mod tests {
    use cogwheel_tensor::DType;

    use super::*;
    use crate::{Dim, GraphBuilder};

    const OPERATOR: LinearOperator = LinearOperator { domain: "own", name: "Linear" };

    #[test]
    fn weights_of_linear_layers_alone_are_handed_over_also_out_of_loops() {
        let mut g = GraphBuilder::new("linears");
        let x = g.input("x", DType::F32, &[Dim::Free("n"), Dim::Fixed(4), Dim::Fixed(4)]).unwrap();
        let inside = g.weight("inside", DType::F32, &[4, 4]);
        let both = g.weight("both", DType::F32, &[4, 4]);
        let bias = g.weight("bias", DType::F32, &[4]);
        let y = g
            .each(&[&x], |g, each| {
                let y = g.linear(&each[0], &inside, Some(&bias))?;
                let y = g.linear(&y, &both, None)?;
                Ok(vec![g.add(&y, &both)?])
            })
            .unwrap();
        g.output("y", &y[0], &[]).unwrap();
        let model = g.finish();

        let weights = model.linear_weights();
        assert_eq!(weights.iter().map(|w| w.name.as_str()).collect::<Vec<_>>(), ["inside"]);
        let model = model.hand_over(&weights, OPERATOR);
        let left: Vec<_> = model.weights().iter().map(|w| w.name.as_str()).collect();
        assert_eq!(left, ["both", "bias"]);
        assert!(model.graph().initializer.iter().all(|i| i.name != "inside"));
        let body = model.graph().node[0].attribute.iter().find_map(|a| a.g.as_ref()).unwrap();
        let node = &body.node[0];
        assert_eq!((node.domain.as_str(), node.op_type.as_str()), ("own", "Linear"));
        assert_eq!(node.input[1..], ["bias"]);
        let expected = [("weight", "inside"), ("result", node.output[0].as_str())];
        assert_eq!(node.attribute, expected.map(|(name, value)| attribute::string(name, value)));
        assert_eq!(body.node[1].op_type, "Gemm");
    }
}
