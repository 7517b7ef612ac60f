mod folder;
mod variant;

use std::ops::ControlFlow;
use std::sync::Arc;

use cogwheel_lora::{Adapter, MergeError, MergeOptions, Model, Recipe, merge};
use cogwheel_models::checkpoint::Checkpoint;
use cogwheel_service::Fatal;
use cogwheel_tensor::{DType, Tensor};
use cogwheel_weights::Weights;

use super::{Once, default_name};
use crate::args::{Lora, MergeArgs};
use crate::hub;
use folder::Folder;
use variant::CachedVariant;

/// Merges adapters into a model, for whoever reads it: a transformer folder, which diffusers loads too, and the changed
/// tensors where a denoiser looks for them. What is made appears when all of it is whole, and not at all when it
/// `is_interrupted` before.
///
/// # Errors
/// A checkpoint or adapter that will not do, and an output that is there already or cannot be written.
pub(super) fn run(
    args: &MergeArgs,
    is_interrupted: &(dyn Fn() -> bool + Sync),
) -> Result<(), Fatal> {
    let folder = args.output.as_deref().map(Folder::new).transpose()?;
    let model = hub::model_folder(&args.model)?;
    let checkpoint = Checkpoint::open(&model).map_err(Fatal::usage)?;
    let weights = checkpoint.weights_transformer().map_err(Fatal::usage)?;
    let recipe = recipe(&args.lora, &checkpoint, &weights)?;
    let variant = match &args.variant_cache {
        Some(cache) => Some(CachedVariant::new(cache, args, &recipe, &weights)?),
        None => None,
    };
    let mut merged = Merged { weights: &weights, recipe: &recipe, is_interrupted, last: None };
    let folder = match folder {
        Some(folder) => Some(folder.write(&model, &weights, merged.tensors(weights.dtype())?)?),
        None => None,
    };
    let cached = match &variant {
        Some(variant) => Some((variant, merged.tensors(variant.dtype())?)),
        None => None,
    };
    // From here on everything is done, whoever interrupts.
    if is_interrupted() {
        return Err(Fatal::failed(MergeError::Cancelled));
    }
    if let Some((variant, tensors)) = cached {
        variant.write(tensors)?;
    }
    if let Some(folder) = folder {
        folder.publish()?;
    }
    let made: String = [&args.output, &args.variant_cache]
        .into_iter()
        .flatten()
        .map(|path| format!("{}\n", path.display()))
        .collect();
    super::print(&made)
}

/// The changed tensors, in the order of their names, merged once for each dtype that follows another.
struct Merged<'a> {
    weights: &'a Weights,
    recipe: &'a Recipe,
    is_interrupted: &'a (dyn Fn() -> bool + Sync),
    last: Option<(DType, Vec<(String, Tensor)>)>,
}

impl Merged<'_> {
    fn tensors(&mut self, dtype: DType) -> Result<&[(String, Tensor)], Fatal> {
        let tensors = match self.last.take() {
            Some((last, tensors)) if last == dtype => tensors,
            // Both would not fit where one does.
            other => {
                drop(other);
                self.merge(dtype)?
            }
        };
        Ok(&self.last.insert((dtype, tensors)).1)
    }

    fn merge(&self, dtype: DType) -> Result<Vec<(String, Tensor)>, Fatal> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let options = MergeOptions { threads, dtype };
        let mut tensors = Vec::new();
        let merged = merge(self.weights, self.recipe, &options, self.is_interrupted, |changed| {
            tensors.push((changed.name, changed.tensor));
            ControlFlow::Continue(())
        });
        merged.map_err(Fatal::usage)?;
        Ok(tensors)
    }
}

fn recipe(loras: &[Lora], checkpoint: &Checkpoint, weights: &Weights) -> Result<Recipe, Fatal> {
    let mut opened = Vec::new();
    let mut once = Once::default();
    for lora in loras {
        if lora.name.is_some() {
            return Err(Fatal::usage("--lora: expected no name= with merge, found one"));
        }
        let adapter = Adapter::open(&lora.path, lora.weight_name.as_deref())
            .and_then(|adapter| adapter.with_alpha(lora.alpha))
            .map_err(Fatal::usage)?;
        once.take(&default_name(&adapter.digest().to_string(), lora.alpha), lora)?;
        opened.push((adapter, lora));
    }
    let model = Model::new(&checkpoint.transformer, Some(weights));
    let mut adapters = Vec::new();
    for (adapter, lora) in opened {
        let description = adapter.describe(&model).map_err(Fatal::usage)?;
        for warning in &description.warnings {
            eprintln!("note: {}: {warning}", lora.path.display());
        }
        adapters.push((Arc::new(adapter), lora.scale.unwrap_or(1.0)));
    }
    Recipe::new(adapters).map_err(Fatal::usage)
}

#[cfg(test)]
mod tests;
