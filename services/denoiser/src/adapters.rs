//! The adapters that this replica has been handed, by the digests of their files.

mod folder;

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cogwheel_lora::{Adapter, AdapterError, AdapterFiles, Model};
use cogwheel_models::config::TransformerConfig;
use folder::Folder;
use tempfile::TempDir;

/// Files of adapters on disk, in a temporary folder that goes with the process, within a bound of bytes: past it the ones
/// that were not asked for the longest are let go. Whoever handed them over hands them over again.
#[derive(Debug)]
pub struct Adapters {
    folder: Folder,
    byte_limit: u64,
    config: TransformerConfig,
    known: Mutex<Known>,
    /// Bytes that are to come in.
    reserved: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct Known {
    by_digest: HashMap<String, Entry>,
    /// Counts uses.
    clock: u64,
}

#[derive(Debug)]
struct Entry {
    adapter: Arc<Adapter>,
    bytes: u64,
    used: u64,
    /// Removed when this goes; maps of the files live on.
    _folder: TempDir,
}

/// Why an adapter was not taken.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// The bytes are not what was announced.
    #[error("expected bytes with digest {expected}, found {found}")]
    Digest {
        /// As announced.
        expected: String,
        /// Of what came.
        found: String,
    },
    /// More bytes than the replica keeps of all adapters.
    #[error("adapter of {bytes} bytes: expected at most {limit}, which is what this replica keeps")]
    TooLarge {
        /// As announced.
        bytes: u64,
        /// What is kept.
        limit: u64,
    },
    /// Others are coming in that take the place.
    #[error("adapter of {bytes} bytes: expected room for it, found others coming in; try again")]
    Busy {
        /// As announced.
        bytes: u64,
    },
    /// The file is no adapter, or one of another model.
    #[error(transparent)]
    Adapter(#[from] AdapterError),
    /// The disk.
    #[error("cannot keep an adapter's file: {0}")]
    Disk(#[from] io::Error),
}

/// An adapter's files as their bytes come in.
#[derive(Debug)]
pub struct Incoming {
    folder: TempDir,
    files: AdapterFiles,
    /// What is being written, and how much of it is to come.
    weights: (File, u64),
    config: Option<(File, u64)>,
    _reserved: Reserved,
}

/// Room on disk; free again when this is dropped.
#[derive(Debug)]
struct Reserved {
    all: Arc<AtomicU64>,
    bytes: u64,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Most bytes of PEFT's config: it is read as a whole.
const MAX_CONFIG: u64 = 1 << 20;

impl Adapters {
    /// None yet; files of up to `byte_limit` bytes in all, of adapters for a transformer of `config`.
    ///
    /// # Errors
    /// When there is no place for temporary files.
    pub fn new(config: &TransformerConfig, byte_limit: u64) -> io::Result<Self> {
        let folder = Folder::new_in(&std::env::temp_dir())?;
        Ok(Self {
            folder,
            byte_limit,
            config: config.clone(),
            known: Mutex::default(),
            reserved: Arc::default(),
        })
    }

    /// The adapter with this digest, if it is here.
    pub fn get(&self, digest: &str) -> Option<Arc<Adapter>> {
        let mut known = self.known();
        known.clock += 1;
        let clock = known.clock;
        let entry = known.by_digest.get_mut(digest)?;
        entry.used = clock;
        Some(Arc::clone(&entry.adapter))
    }

    /// Makes place for files of so many bytes; `config` is that of PEFT's config, 0 where there is none.
    ///
    /// # Errors
    /// [`PutError::TooLarge`], [`PutError::Disk`].
    pub fn receive(&self, weights: u64, config: u64) -> Result<Incoming, PutError> {
        let (bytes, limit) = (weights.saturating_add(config), self.byte_limit);
        if bytes > limit {
            return Err(PutError::TooLarge { bytes, limit });
        }
        if config > MAX_CONFIG {
            return Err(PutError::TooLarge { bytes: config, limit: MAX_CONFIG });
        }
        let more = |all: u64| all.checked_add(bytes).filter(|all| *all <= limit);
        let taken = self.reserved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.map_err(|_| PutError::Busy { bytes })?;
        let reserved = Reserved { all: Arc::clone(&self.reserved), bytes };
        let folder = tempfile::Builder::new().tempdir_in(self.folder.path())?;
        let place = |name: &str| -> PathBuf { folder.path().join(name) };
        let (weights_path, config_path) =
            (place("adapter_model.safetensors"), place("adapter_config.json"));
        let config = if config > 0 { Some((File::create(&config_path)?, config)) } else { None };
        let weights = (File::create(&weights_path)?, weights);
        let files =
            AdapterFiles { weights: weights_path, config: config.is_some().then_some(config_path) };
        Ok(Incoming { folder, files, weights, config, _reserved: reserved })
    }

    /// Checks what has come in, all of it, and keeps it. Reads the files.
    ///
    /// # Errors
    /// [`PutError::Digest`], [`PutError::Adapter`].
    pub fn keep(&self, digest: &str, incoming: Incoming) -> Result<(), PutError> {
        let Incoming { folder, files, .. } = incoming;
        let adapter = Adapter::open_files(&files)?;
        let found = adapter.digest().to_string();
        if found != digest {
            return Err(PutError::Digest { expected: digest.to_owned(), found });
        }
        let description = adapter.describe(&Model::new(&self.config, None))?;
        let bytes = description.size_bytes;
        let mut known = self.known();
        known.clock += 1;
        let used = known.clock;
        let entry = Entry { adapter: Arc::new(adapter), bytes, used, _folder: folder };
        known.by_digest.insert(found, entry);
        // The new one was used last, and alone it is within the limit: it stays.
        while known.by_digest.values().map(|entry| entry.bytes).sum::<u64>() > self.byte_limit {
            let oldest = known.by_digest.iter().min_by_key(|(_, entry)| entry.used);
            let Some(oldest) = oldest.map(|(digest, _)| digest.clone()) else { break };
            known.by_digest.remove(&oldest);
        }
        Ok(())
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Incoming {
    /// Takes the next bytes: of the weights, then of the config. Whether there was room for them.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write(&mut self, mut bytes: &[u8]) -> io::Result<bool> {
        for (file, left) in [Some(&mut self.weights), self.config.as_mut()].into_iter().flatten() {
            let length = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
            let (now, later) = bytes.split_at(length);
            file.write_all(now)?;
            *left -= length as u64;
            bytes = later;
        }
        Ok(bytes.is_empty())
    }

    /// Bytes that are still to come.
    pub fn missing(&self) -> u64 {
        self.weights.1 + self.config.as_ref().map_or(0, |(_, left)| *left)
    }
}

#[cfg(test)]
mod tests;
