use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cogwheel_lora::{Adapter, AdapterFiles};

use super::store::Store;

/// An adapter's files, which stay as long as this is held.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) files: AdapterFiles,
    /// Bytes of the weights and of the config.
    pub(super) lengths: [u64; 2],
    /// The store they are in, and under which digest.
    store: Option<(Arc<Store>, String)>,
    /// Whether a name stands for them. Files of the store that have none go with whoever holds them last.
    is_named: AtomicBool,
}

impl Kept {
    /// Files that are somebody else's.
    pub(super) fn elsewhere(files: AdapterFiles, lengths: [u64; 2]) -> Self {
        Self { files, lengths, store: None, is_named: AtomicBool::new(true) }
    }

    /// Files of a store, under their digest.
    pub(super) fn stored(
        store: &Arc<Store>,
        digest: &str,
        files: AdapterFiles,
        is_named: bool,
    ) -> Self {
        let store = Some((Arc::clone(store), digest.to_owned()));
        Self { lengths: lengths(&files), files, store, is_named: AtomicBool::new(is_named) }
    }

    /// Whether the files are still those of this digest. Reads all of them.
    pub(super) fn are_sound(&self, digest: &str) -> bool {
        // What has another length need not be read to be known for another.
        lengths(&self.files) == self.lengths
            && Adapter::open_files(&self.files)
                .is_ok_and(|adapter| adapter.digest().to_string() == digest)
    }

    /// A name stands for them.
    pub(super) fn remember(&self) {
        self.is_named.store(true, Ordering::Relaxed);
    }

    /// Removes the files when the last request that uses them is done.
    pub(super) fn forget(&self) {
        self.is_named.store(false, Ordering::Relaxed);
    }

    /// Whether the files are in the store.
    pub(super) fn is_stored(&self) -> bool {
        self.store.is_some()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if let Some((store, digest)) = &self.store
            && !self.is_named.load(Ordering::Relaxed)
        {
            store.discard(digest, &self.files);
        }
    }
}

/// Bytes of the weights and of the config; 0 for what is not there.
fn lengths(files: &AdapterFiles) -> [u64; 2] {
    let length = |path: &Path| path.metadata().map_or(0, |metadata| metadata.len());
    [length(&files.weights), files.config.as_deref().map_or(0, length)]
}
