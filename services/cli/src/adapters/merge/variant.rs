use std::path::Path;

use cogwheel_denoiser::variants::{VariantCache, VariantError};
use cogwheel_lora::{Recipe, VariantId};
use cogwheel_service::Fatal;
use cogwheel_tensor::{DType, Tensor};
use cogwheel_weights::Weights;

use crate::args::MergeArgs;

/// A variant's place in the cache of a denoiser, which finds it there by the same identity and precision.
pub(super) struct CachedVariant<'a> {
    folder: &'a Path,
    cache: VariantCache,
    dtype: DType,
    id: VariantId,
}

impl<'a> CachedVariant<'a> {
    /// Opens the cache. Reads all of the model's `weights`, which the identity begins with.
    ///
    /// # Errors
    /// Where the folder cannot be used, or the adapters leave the model as it is: a denoiser then looks for nothing.
    pub(super) fn new(
        folder: &'a Path,
        args: &MergeArgs,
        recipe: &Recipe,
        weights: &Weights,
    ) -> Result<Self, Fatal> {
        if recipe.is_base() {
            let message =
                "--variant-cache: expected adapters that change the model, found scales of 0 alone";
            return Err(Fatal::usage(message));
        }
        let dtype = args.storage()?.dtype();
        let opened = VariantCache::new(folder.to_owned(), args.variant_cache_bytes.bytes, dtype);
        let unfit = |source| VariantError::Cache { folder: folder.to_owned(), source };
        let cache = opened.map_err(|source| Fatal::usage(unfit(source)))?;
        Ok(Self { folder, cache, dtype, id: recipe.id(weights.digest()) })
    }

    /// What its tensors are rounded to.
    pub(super) fn dtype(&self) -> DType {
        self.dtype
    }

    /// Puts its tensors there, and says which variant they are.
    ///
    /// # Errors
    /// When they cannot be written.
    pub(super) fn write(&self, tensors: &[(String, Tensor)]) -> Result<(), Fatal> {
        let Self { folder, cache, dtype, id } = self;
        let written = cache.write(id, tensors);
        written.map_err(|error| {
            Fatal::usage(format!("--variant-cache {}: {error}", folder.display()))
        })?;
        eprintln!("note: variant {id} in {dtype}");
        Ok(())
    }
}
