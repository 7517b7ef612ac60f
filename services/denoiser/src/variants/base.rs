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
    opened: OnceCell<Arc<Opened>>,
}

/// The weights, memory-mapped, and what they are.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) weights: Weights,
    digest: Digest,
}

impl Base {
    pub(super) fn of(checkpoint: &Checkpoint) -> Self {
        // What is merged is rounded once, at the end.
        let checkpoint = checkpoint.clone().stored_in(Storage::Fp32);
        Self { checkpoint, opened: OnceCell::new() }
    }

    pub(super) async fn open(&self) -> Result<Arc<Opened>, VariantError> {
        let open = async || {
            let checkpoint = self.checkpoint.clone();
            let opened = tokio::task::spawn_blocking(move || {
                let weights = checkpoint.weights_transformer()?;
                let digest = weights.digest();
                Ok(Arc::new(Opened { weights, digest }))
            });
            opened.await.map_err(|error| VariantError::Thread(error.to_string()))?
        };
        self.opened.get_or_try_init(open).await.cloned()
    }
}

impl Opened {
    /// Of all tensors.
    pub(super) fn digest(&self) -> Digest {
        self.digest
    }
}
