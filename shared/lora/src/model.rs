//! What adapters are checked against: the layers of a transformer, and which published CogVideoX it is one of.

mod published;

use std::collections::{BTreeMap, BTreeSet};

use cogwheel_models::{config::TransformerConfig, names};
use cogwheel_weights::Weights;
pub use published::Published;

use crate::Target;

/// The layers of a transformer that an adapter can change.
#[derive(Clone, Debug)]
pub struct Model<'a> {
    /// Shapes of the layers' weights.
    layers: BTreeMap<String, Vec<usize>>,
    biases: BTreeSet<String>,
    pub(crate) num_layers: usize,
    pub(crate) inner_dim: usize,
    pub(crate) published: Option<Published>,
    pub(crate) weights: Option<&'a Weights>,
}

impl<'a> Model<'a> {
    /// The model of a transformer's config. With its weights at hand an adapter's scale can be judged too.
    pub fn new(config: &TransformerConfig, weights: Option<&'a Weights>) -> Self {
        let (mut layers, mut biases) = (BTreeMap::new(), BTreeSet::new());
        for tensor in names::transformer(config) {
            if let Some(layer) = tensor.name.strip_suffix(".weight") {
                // Norms have vectors, which are no product of two matrices.
                if tensor.shape.len() > 1 {
                    layers.insert(layer.to_owned(), tensor.shape);
                }
            } else if let Some(layer) = tensor.name.strip_suffix(".bias") {
                biases.insert(layer.to_owned());
            }
        }
        Self {
            layers,
            biases,
            num_layers: config.num_layers,
            inner_dim: config.inner_dim(),
            published: Published::of(config),
            weights,
        }
    }

    /// The layers that an adapter can change.
    pub fn num_targets(&self) -> usize {
        self.layers.len()
    }

    /// What the model is to an adapter's user.
    pub(crate) fn description(&self) -> String {
        let Self { num_layers, inner_dim, .. } = self;
        match self.published {
            Some(published) => format!("{published} ({num_layers} layers, width {inner_dim})"),
            None => format!("a transformer of {num_layers} layers, width {inner_dim}"),
        }
    }

    /// Whether a layer is here and of the shape that a target changes; else what is here, and what the target is for.
    pub(crate) fn fit(&self, target: &Target) -> Result<(), (String, String)> {
        let (a, module) = (target.a.shape(), &target.module);
        let found = shape(target.rows(), &a[1..]);
        let Some(weight) = self.layers.get(module) else {
            return Err((self.description(), format!("one for '{module}', which is not there")));
        };
        if weight.first() != Some(&target.rows()) || weight.get(1..) != Some(&a[1..]) {
            let expected = format!("{}, '{module}' {weight:?}", self.description());
            return Err((expected, format!("one for {found}")));
        }
        if target.bias.is_some() && !self.biases.contains(module) {
            return Err((self.description(), format!("a bias for '{module}', which has none")));
        }
        Ok(())
    }
}

fn shape(rows: usize, input: &[usize]) -> String {
    format!("{:?}", [&[rows], input].concat())
}
