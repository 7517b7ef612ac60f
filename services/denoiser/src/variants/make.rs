use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use cogwheel_engine::{EngineError, Variant, VariantMaker};
use cogwheel_lora::{MergeOptions, Recipe, VariantId, merge};
use cogwheel_service::metrics;
use cogwheel_tensor::{DType, Tensor};
use cogwheel_weights::Weights;
use rayon::ThreadPool;
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

/// A variant, and its tensors where the cache has yet to be given them.
pub(super) struct Made {
    pub(super) variant: Variant,
    uncached: Vec<(String, Tensor)>,
}

impl Making {
    /// Reads it from the cache, or merges it.
    pub(super) fn make(&self, cancelled: &AtomicBool) -> Result<Made, VariantError> {
        let start = Instant::now();
        // What lays weights out, and digests files, takes no more threads than the merge.
        let pool = rayon::ThreadPoolBuilder::new().num_threads(self.threads).build();
        let pool = pool.map_err(|error| VariantError::Thread(error.to_string()))?;
        if let Some(variant) = pool.install(|| self.read()) {
            let seconds = start.elapsed().as_secs_f64();
            tracing::info!(variant = %self.id, seconds, "variant read from the cache");
            return Ok(Made { variant, uncached: Vec::new() });
        }
        let merging = Instant::now();
        let made = self.merge(&pool, cancelled)?;
        metrics::merged(merging.elapsed());
        let (seconds, bytes) = (start.elapsed().as_secs_f64(), made.variant.byte_length());
        tracing::info!(variant = %self.id, seconds, bytes, "variant merged");
        Ok(made)
    }

    /// Gives the cache what it lacks.
    pub(super) fn keep(&self, made: Made) {
        if let Some(cache) = self.cache.as_ref().filter(|_| !made.uncached.is_empty()) {
            let written = cache.write(&self.id, &made.uncached);
            if let Err(error) = written {
                tracing::warn!(variant = %self.id, %error, "the variant is not kept in the cache");
            }
        }
        drop(made);
        cogwheel_engine::give_back();
    }

    fn read(&self) -> Option<Variant> {
        let cache = self.cache.as_ref()?;
        let tensors = cache.read(&self.id, &self.recipe.changed_tensors())?;
        match self.laid_out(&tensors) {
            Ok(variant) => Some(variant),
            Err(error) => {
                tracing::warn!(variant = %self.id, %error, "the variant in the cache is not used");
                None
            }
        }
    }

    fn laid_out(&self, tensors: &Weights) -> Result<Variant, Box<dyn std::error::Error>> {
        let mut variant = self.maker.begin();
        for name in tensors.names() {
            variant.add(name, tensors.tensor(name)?)?;
        }
        Ok(variant.finish())
    }

    fn merge(&self, pool: &ThreadPool, cancelled: &AtomicBool) -> Result<Made, VariantError> {
        let _span = tracing::info_span!("merge", variant = %self.id).entered();
        let mut variant = self.maker.begin();
        let mut refused: Option<EngineError> = None;
        let mut uncached = Vec::new();
        let options = MergeOptions { threads: self.threads, dtype: self.dtype };
        let is_cancelled = || cancelled.load(Ordering::Relaxed);
        let merged = merge(&self.base.weights, &self.recipe, &options, &is_cancelled, |changed| {
            let added = pool.install(|| variant.add(&changed.name, changed.tensor.clone()));
            if self.cache.is_some() {
                uncached.push((changed.name, changed.tensor));
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
        Ok(Made { variant: variant.finish(), uncached })
    }
}
