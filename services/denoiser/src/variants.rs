//! The variants of the model that are in memory, and how they come there.

mod base;
mod cache;
mod error;
mod line;
mod make;
mod resident;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cogwheel_engine::{Pace, Variant, VariantMaker};
use cogwheel_lora::{Recipe, VariantId};
use cogwheel_models::checkpoint::Checkpoint;
use cogwheel_service::metrics::{self, Cache, Waiting};
use cogwheel_tensor::Storage;
use tokio::sync::{Semaphore, oneshot, watch};

use base::Base;
pub use cache::{CacheError, VariantCache};
pub use error::VariantError;
use line::{IsThere, Line, Place};
use make::Making;
use resident::Resident;

/// Requests that hold a variant at once: the one that runs, and the next, whose variant is merged meanwhile.
const LEASES: usize = 2;

/// How variants are kept.
#[derive(Clone, Debug)]
pub struct VariantSettings {
    /// Bytes of variants that stay in memory when nobody uses them.
    pub byte_budget: u64,
    /// Bytes that there are for what a request computes and for variants together, where that is known.
    pub memory: Option<u64>,
    /// Where merged tensors are kept on disk, and how many bytes of them.
    pub cache: Option<(PathBuf, u64)>,
    /// How often a request may be passed by others whose variant is in memory already.
    pub max_passed: u32,
    /// Threads of a merge while nothing else runs; half of them when something does.
    pub threads: usize,
}

/// Merges variants from the pristine base, one at a time and in the background, and keeps them within a budget: past it,
/// the one that was not used the longest goes first. One that alone is more than the budget is there while it is used.
#[derive(Debug)]
pub struct Variants {
    base: Base,
    maker: VariantMaker,
    /// What merged weights are rounded to.
    storage: Storage,
    threads: usize,
    cache: Option<VariantCache>,
    resident: Arc<Mutex<Resident>>,
    line: Arc<Line>,
    is_there: IsThere,
    /// One at a time.
    merging: Arc<Semaphore>,
    /// What making one took.
    pace: Arc<Pace>,
}

/// A variant in use. It stays in memory as long as this.
#[derive(Debug)]
pub struct Lease {
    /// What to run with.
    pub variant: Variant,
    /// Which one.
    pub id: VariantId,
    /// What it took until it was this request's turn to have one.
    pub waited: Duration,
    _place: Place,
}

/// Which variant is asked for, and how.
#[derive(Debug)]
pub struct Wanted {
    /// What makes it.
    pub recipe: Recipe,
    /// Whether it is to stay in memory from now on; `None` leaves that as it is.
    pub pinned: Option<bool>,
    /// Whether nothing else runs: it is then merged by all threads.
    pub alone: bool,
}

/// A variant that was made ahead, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// Which one.
    pub id: VariantId,
    /// What it takes of memory; 0 where it was not made.
    pub byte_length: u64,
}

/// A request that runs. Its memory is others' again when this is dropped.
#[derive(Debug)]
pub struct Running(Arc<Mutex<Resident>>);

impl Drop for Running {
    fn drop(&mut self) {
        lock(&self.0).ended();
    }
}

/// How far a merge is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Merging {
    /// Tensors done.
    pub tensors: usize,
    /// Tensors that change; 0 while nothing is merged.
    pub num_tensors: usize,
}

impl Variants {
    /// None yet. `maker` is of the sessions that run the model.
    ///
    /// # Errors
    /// [`VariantError::Cache`] when the folder of the cache cannot be made.
    pub fn new(
        checkpoint: &Checkpoint,
        maker: VariantMaker,
        settings: VariantSettings,
    ) -> Result<Self, VariantError> {
        let storage = checkpoint.storage();
        let open = |(folder, limit): (PathBuf, u64)| {
            VariantCache::new(folder.clone(), limit, storage.dtype())
                .map_err(|source| VariantError::Cache { folder, source })
        };
        let cache = settings.cache.map(open);
        let resident = Arc::new(Mutex::new(Resident::new(settings.byte_budget, settings.memory)));
        let held = Arc::clone(&resident);
        let is_there = IsThere(Arc::new(move |id| lock(&held).has(id)));
        let threads = settings.threads.max(1);
        Ok(Self {
            base: Base::of(checkpoint, threads.div_ceil(2)),
            maker,
            storage,
            threads,
            cache: cache.transpose()?,
            resident,
            line: Arc::new(Line::new(LEASES, settings.max_passed)),
            is_there,
            merging: Arc::new(Semaphore::new(1)),
            pace: Arc::default(),
        })
    }

    /// The variant of a recipe: at once where it is in memory, else when it is read from the cache or merged, of which
    /// `progress` tells. Those who ask wait in their order, but for what is in memory already, and for one merge of what
    /// several ask for.
    ///
    /// # Errors
    /// [`VariantError`]: a base that cannot be read, or scales that make weights which are no numbers.
    ///
    /// # Cancel safety
    /// Dropping it gives up the place. A merge under way ends within a tensor, and the next one begins after that.
    pub async fn lease(
        &self,
        wanted: Wanted,
        progress: watch::Sender<Merging>,
    ) -> Result<Lease, VariantError> {
        let base = self.base.open().await?;
        let id = wanted.recipe.id(base.digest());
        let waiting = Waiting::of("the denoiser");
        let mut place = self.line.place(id, &self.is_there).await;
        let waited = waiting.end();
        let pinned = wanted.pinned;
        let variant = self.variant(base, id, wanted, progress).await?;
        place.made();
        let is_first = self.resident().is_first_run(&id);
        metrics::cache(Cache::Variants, usize::from(!is_first), usize::from(is_first));
        if let Some(pinned) = pinned {
            // Where there is no place for it beside other pinned ones it is there as long as it is used.
            self.resident().pin(&id, pinned);
        }
        Ok(Lease { variant, id, waited, _place: place })
    }

    /// Makes a variant of about so many bytes before anybody runs with it. One that is not to be pinned is made where there
    /// is room for it in memory, or for nothing else now; else nothing is done: what others made is not given up for it.
    /// One that is to be pinned no more is not made.
    ///
    /// # Errors
    /// As [`Self::lease`]; [`VariantError::Budget`] for pinned variants that together pass the budget.
    ///
    /// # Cancel safety
    /// As [`Self::lease`].
    pub async fn prepare(
        &self,
        wanted: Wanted,
        bytes: u64,
        progress: watch::Sender<Merging>,
    ) -> Result<Prepared, VariantError> {
        let base = self.base.open().await?;
        let id = wanted.recipe.id(base.digest());
        let (pinned, alone) = (wanted.pinned, wanted.alone);
        if let Some(prepared) = self.there_or_unwanted(id, pinned, alone, bytes)? {
            return Ok(prepared);
        }
        let mut place = self.line.place(id, &self.is_there).await;
        // Others have been served meanwhile. From here on one makes a variant at a time.
        if let Some(prepared) = self.there_or_unwanted(id, pinned, alone, bytes)? {
            return Ok(prepared);
        }
        let variant = self.variant(base, id, wanted, progress).await?;
        place.made();
        let mut resident = self.resident();
        if pinned == Some(true) && !resident.keep_pinned(id, &variant) {
            let (bytes, budget) = (variant.byte_length() as u64, resident.budget());
            return Err(VariantError::Budget { bytes, budget });
        }
        Ok(Prepared { id, byte_length: variant.byte_length() as u64 })
    }

    /// What preparing a variant comes to where nothing is to be made: it is there, or there is no place for it.
    fn there_or_unwanted(
        &self,
        id: VariantId,
        pinned: Option<bool>,
        alone: bool,
        bytes: u64,
    ) -> Result<Option<Prepared>, VariantError> {
        let mut resident = self.resident();
        let there = resident.get(&id);
        let byte_length = there.map_or(0, |variant| variant.byte_length() as u64);
        let is_settled = match pinned {
            Some(true) if !resident.has_place(&id, bytes.max(byte_length)) => {
                return Err(VariantError::Budget { bytes, budget: resident.budget() });
            }
            Some(true) => resident.pin(&id, true),
            Some(false) => {
                resident.pin(&id, false);
                true
            }
            None => {
                let has_room = resident.has_room(bytes) || alone && resident.has_place(&id, bytes);
                byte_length > 0 || !has_room
            }
        };
        Ok(is_settled.then_some(Prepared { id, byte_length }))
    }

    /// The variant for whoever has a place.
    async fn variant(
        &self,
        base: Arc<base::Opened>,
        id: VariantId,
        Wanted { recipe, alone, .. }: Wanted,
        progress: watch::Sender<Merging>,
    ) -> Result<Variant, VariantError> {
        if let Some(variant) = self.resident().get(&id) {
            return Ok(variant);
        }
        let merging = Arc::clone(&self.merging).acquire_owned().await;
        let merging = merging.map_err(VariantError::closed)?;
        // Whoever was before in the line may have wanted the same, and left.
        if let Some(variant) = self.resident().get(&id) {
            return Ok(variant);
        }
        let making = Making {
            base,
            recipe,
            id,
            maker: self.maker.clone(),
            threads: if alone { self.threads } else { self.threads.div_ceil(2) },
            dtype: self.storage.dtype(),
            cache: self.cache.clone(),
            progress,
        };
        let (ready, variant) = oneshot::channel();
        let cancelled = Cancelled::default();
        let (flag, resident) = (Arc::clone(&cancelled.0), Arc::clone(&self.resident));
        let pace = Arc::clone(&self.pace);
        let span = tracing::Span::current();
        let start = Instant::now();
        let work = move || match making.make(&flag) {
            Ok(made) => {
                pace.took(start.elapsed());
                lock(&resident).insert(id, made.variant.clone());
                // Whoever waits need not wait for the disk. Nobody may wait any more: it is kept all the same.
                let _ = ready.send(Ok(made.variant.clone()));
                making.keep(made);
            }
            Err(error) => drop(ready.send(Err(error))),
        };
        tokio::task::spawn_blocking(move || {
            span.in_scope(work);
            // Held for as long as memory is taken, whether anybody waits or not.
            drop(merging);
        });
        let gone = |_| VariantError::Thread("the thread ended without a result".to_owned());
        variant.await.map_err(gone)?
    }

    /// Says that a request runs which takes so many bytes at its peak, beside the weights and its variant, as long as the
    /// result is there: kept variants go until it has them. One runs at a time.
    pub fn run(&self, bytes: u64, lease: Option<&Lease>) -> Running {
        self.resident().run(bytes, lease.map(|lease| (&lease.id, &lease.variant)));
        Running(Arc::clone(&self.resident))
    }

    /// What making a variant took lately; zero while none has been made.
    pub fn pace(&self) -> Duration {
        self.pace.mean()
    }

    /// Ids of the variants in memory, in their order.
    pub fn resident_ids(&self) -> Vec<String> {
        let mut ids: Vec<_> = self.resident().ids().map(VariantId::to_string).collect();
        ids.sort_unstable();
        ids
    }

    /// Bytes of the variants that are kept in memory.
    pub fn resident_bytes(&self) -> u64 {
        self.resident().bytes()
    }

    fn resident(&self) -> MutexGuard<'_, Resident> {
        lock(&self.resident)
    }
}

fn lock(resident: &Mutex<Resident>) -> MutexGuard<'_, Resident> {
    resident.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Says, when it is dropped, that nobody waits any more.
#[derive(Default)]
struct Cancelled(Arc<AtomicBool>);

impl Drop for Cancelled {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
