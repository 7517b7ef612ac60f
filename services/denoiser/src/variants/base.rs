use std::sync::Arc;

use cogwheel_models::checkpoint::Checkpoint;
use cogwheel_tensor::Storage;
use cogwheel_weights::{Digest, Weights};
use tokio::sync::OnceCell;

use super::VariantError;

/// The pristine base: the transformer's weights as they lie on disk. Opened and digested when the first variant is wanted,
/// which reads all of them once.
#[derive(Debug)]
pub(super) struct Base {
    checkpoint: Checkpoint,
    /// Of the digest, which reads everything: a generation may be running.
    threads: usize,
    opened: Arc<OnceCell<Arc<Opened>>>,
}

/// The weights, memory-mapped, and what they are.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) weights: Weights,
    digest: Digest,
}

impl Base {
    pub(super) fn of(checkpoint: &Checkpoint, threads: usize) -> Self {
        // What is merged is rounded once, at the end.
        let checkpoint = checkpoint.clone().stored_in(Storage::Fp32);
        Self { checkpoint, threads, opened: Arc::default() }
    }

    #[cfg(test)]
    pub(super) fn is_open(&self) -> bool {
        self.opened.get().is_some()
    }

    /// The weights and their digest.
    ///
    /// # Cancel safety
    /// What has begun goes on for whoever asks next.
    pub(super) async fn open(&self) -> Result<Arc<Opened>, VariantError> {
        if let Some(opened) = self.opened.get() {
            return Ok(Arc::clone(opened));
        }
        let (opened, checkpoint, threads) =
            (Arc::clone(&self.opened), self.checkpoint.clone(), self.threads);
        let failed = |error: tokio::task::JoinError| VariantError::Thread(error.to_string());
        let opening = tokio::spawn(async move {
            let open = async || {
                let open = move || Opened::read(&checkpoint, threads).map(Arc::new);
                tokio::task::spawn_blocking(open).await.map_err(failed)?
            };
            opened.get_or_try_init(open).await.cloned()
        });
        opening.await.map_err(failed)?
    }
}

impl Opened {
    fn read(checkpoint: &Checkpoint, threads: usize) -> Result<Self, VariantError> {
        let weights = checkpoint.weights_transformer()?;
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.map_err(|error| VariantError::Thread(error.to_string()))?;
        let digest = pool.install(|| weights.digest());
        Ok(Self { weights, digest })
    }

    /// Of all tensors.
    pub(super) fn digest(&self) -> Digest {
        self.digest
    }
}
