use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use cogwheel_engine::{EngineError, Variant, VariantMaker};
use cogwheel_lora::{MergeOptions, Recipe, VariantId, merge};
use cogwheel_tensor::DType;
use tokio::sync::watch;

use super::base::Opened;
use super::cache::VariantCache;
use super::{Merging, VariantError};

/// A variant that is to be made.
pub(super) struct Making {
    pub(super) base: Arc<Opened>,
    pub(super) recipe: Recipe,
    pub(super) id: VariantId,
    pub(super) maker: VariantMaker,
    pub(super) threads: usize,
    pub(super) dtype: DType,
    pub(super) cache: Option<VariantCache>,
    pub(super) progress: watch::Sender<Merging>,
}

impl Making {
    /// Reads it from the cache, or merges it and puts it there.
    pub(super) fn make(self, cancelled: &AtomicBool) -> Result<Variant, VariantError> {
        let start = Instant::now();
        if let Some(cache) = &self.cache
            && let Some(tensors) = cache.read(&self.id)
        {
            let mut variant = self.maker.begin();
            let names: Vec<_> = tensors.names().map(str::to_owned).collect();
            let added = names.iter().try_for_each(|name| {
                variant
                    .add(name, tensors.tensor(name).map_err(|error| error.to_string())?)
                    .map_err(|error| error.to_string())
            });
            match added {
                Ok(()) => {
                    tracing::info!(variant = %self.id, seconds = start.elapsed().as_secs_f64(), "variant read from the cache");
                    return Ok(variant.finish());
                }
                Err(reason) => cache.distrust(&self.id, &reason),
            }
        }
        let mut variant = self.maker.begin();
        let mut refused: Option<EngineError> = None;
        let mut kept = Vec::new();
        let options = MergeOptions { threads: self.threads, dtype: self.dtype };
        let is_cancelled = || cancelled.load(Ordering::Relaxed);
        let merged = merge(&self.base.weights, &self.recipe, &options, &is_cancelled, |changed| {
            let added = variant.add(&changed.name, changed.tensor.clone());
            if self.cache.is_some() {
                kept.push((changed.name, changed.tensor));
            }
            let merging = Merging { tensors: changed.index + 1, num_tensors: changed.total };
            self.progress.send_replace(merging);
            match added {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    refused = Some(error);
                    ControlFlow::Break(())
                }
            }
        });
        if let Some(error) = refused {
            return Err(error.into());
        }
        merged?;
        let variant = variant.finish();
        let (seconds, bytes) = (start.elapsed().as_secs_f64(), variant.byte_length());
        tracing::info!(variant = %self.id, seconds, bytes, "variant merged");
        if let Some(cache) = &self.cache {
            cache.write(&self.id, &kept);
        }
        Ok(variant)
    }
}
