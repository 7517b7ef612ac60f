//! What an adapter is and does to a model, for people and for the wire.

mod judge;
mod scale;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{Adapter, AdapterError, AlphaSource, Layout, Model, config::quote, model::Published};

/// An adapter as a model sees it. Plain values: it travels in messages and is shown.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Description {
    /// How the file names its tensors.
    pub layout: Layout,
    /// blake3 of the file, 64 hexadecimal digits; adapters are addressed by it.
    pub digest: String,
    /// What the adapter does, 64 hexadecimal digits; the same for the same matrices in another layout.
    pub identity: String,
    /// Bytes of the file or files.
    pub size_bytes: u64,
    /// The dtype of the matrices, as safetensors names it.
    pub dtype: String,
    /// Tensors in the file, all of them understood.
    pub tensors: usize,
    /// Layers it changes.
    pub targets: usize,
    /// Layers of the model that an adapter could change.
    pub targets_of_model: usize,
    /// How many layers have which rank.
    pub ranks: BTreeMap<usize, usize>,
    /// How many layers have which alpha, and from where.
    pub alphas: Vec<AlphaGroup>,
    /// How many layers have which effective scale, at a scale of 1.
    pub scales: Vec<ScaleGroup>,
    /// Whether the scale has the rank's root for the rank.
    pub use_rslora: bool,
    /// Layers that are weight-decomposed.
    pub dora_targets: usize,
    /// Layers whose bias changes too.
    pub bias_targets: usize,
    /// What the adapter says it was trained from.
    pub stated_base: Option<String>,
    /// The published models that it fits, by names and shapes.
    pub fits: Vec<String>,
    /// The changed weights' median share: the norm of what is added at a scale of 1 to that of the weight, of a sample of
    /// layers. None where the model's weights are not at hand.
    pub relative_change: Option<f32>,
    /// What is odd about it and no reason to refuse it.
    pub warnings: Vec<String>,
}

/// Layers with one alpha.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct AlphaGroup {
    /// The number.
    pub alpha: f64,
    /// Where it comes from.
    pub source: AlphaSource,
    /// Layers that have it.
    pub targets: usize,
}

/// Layers with one effective scale.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ScaleGroup {
    /// alpha / rank, or alpha / sqrt(rank) for rsLoRA.
    pub scale: f64,
    /// Layers that have it.
    pub targets: usize,
}

impl Adapter {
    /// Checks the adapter against a model and says what it is.
    ///
    /// # Errors
    /// [`AdapterError::WrongModel`] for layers that the model lacks or has at another shape, with the published models
    /// that the adapter would fit; [`AdapterError::StatedBase`] where it says itself that it is for another one.
    pub fn describe(&self, model: &Model<'_>) -> Result<Description, AdapterError> {
        let fits = Published::fitting(&self.targets);
        judge::fit(self, model, &fits)?;
        let relative_change = scale::relative_change(&self.targets, model);
        let mut warnings = self.warnings();
        warnings.extend(judge::warnings(self, model, &fits));
        warnings.extend(scale::warning(self, relative_change));
        let (mut ranks, mut alphas, mut scales) = (BTreeMap::new(), Vec::new(), Vec::new());
        for target in &self.targets {
            *ranks.entry(target.rank()).or_default() += 1;
            count(&mut alphas, (target.alpha().value, target.alpha().source));
            count(&mut scales, target.ratio());
        }
        let number_of = |with: fn(&crate::Target) -> bool| {
            self.targets.iter().filter(|target| with(target)).count()
        };
        Ok(Description {
            layout: self.layout,
            digest: self.digest.to_string(),
            identity: self.identity().to_string(),
            size_bytes: self.size,
            dtype: self.targets.first().map_or("", |target| target.dtype().name()).to_owned(),
            tensors: self.present,
            targets: self.targets.len(),
            targets_of_model: model.num_targets(),
            ranks,
            alphas: alphas
                .into_iter()
                .map(|((alpha, source), targets)| AlphaGroup { alpha, source, targets })
                .collect(),
            scales: scales
                .into_iter()
                .map(|(scale, targets)| ScaleGroup { scale, targets })
                .collect(),
            use_rslora: number_of(|target| target.use_rslora) > 0,
            dora_targets: number_of(|target| target.magnitude.is_some()),
            bias_targets: number_of(|target| target.bias.is_some()),
            stated_base: self.stated_bases.first().map(|(_, base)| quote(base)),
            fits: fits.into_iter().map(|published| published.name().to_owned()).collect(),
            relative_change,
            warnings,
        })
    }
}

/// One more of a value, in the order of first appearance.
fn count<T: PartialEq>(groups: &mut Vec<(T, usize)>, value: T) {
    match groups.iter_mut().find(|(known, _)| *known == value) {
        Some((_, number)) => *number += 1,
        None => groups.push((value, 1)),
    }
}
