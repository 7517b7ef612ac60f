use std::sync::Arc;

use cogwheel_api::denoiser::v1::{PutAdapterRequest, put_adapter_request::Part};
use cogwheel_service::{Failure, receive};
use cogwheel_weights::Digest;
use tokio::sync::Semaphore;
use tonic::Streaming;

use crate::adapters::{Adapters, PutError};

/// Receives an adapter's files, checks and keeps them. Whether it was here before; its bytes are not read then.
///
/// # Errors
/// [`Failure::Invalid`] for what is not as announced, and what [`receive`] gives.
pub(super) async fn put_adapter(
    adapters: &Arc<Adapters>,
    turns: &Semaphore,
    messages: &mut Streaming<PutAdapterRequest>,
) -> Result<bool, Failure> {
    let Some(Part::Header(header)) = receive(messages).await?.and_then(|first| first.part) else {
        return Err(Failure::invalid("header", "expected the header first"));
    };
    let digest = header.digest;
    if !is_digest(&digest) {
        let message = "expected 64 lower-case hexadecimal digits";
        return Err(Failure::invalid("header.digest", message));
    }
    let _turn = turns.acquire().await.map_err(|closed| Failure::Internal(closed.to_string()))?;
    if adapters.get(&digest).is_some() {
        return Ok(true);
    }
    let mut incoming = adapters.receive(header.weights_byte_length, header.config_byte_length)?;
    while let Some(message) = receive(messages).await? {
        let Some(Part::Chunk(chunk)) = message.part else {
            return Err(Failure::invalid("part", "expected bytes after the header"));
        };
        if chunk.is_empty() {
            return Err(Failure::invalid("chunk", "expected bytes, found none"));
        }
        // The disk may be slow.
        let written = tokio::task::spawn_blocking(move || {
            let fits = incoming.write(&chunk);
            fits.map(|fits| (incoming, fits))
        });
        let written = written.await.map_err(|error| Failure::Internal(error.to_string()))?;
        let (back, fits) = written.map_err(PutError::from)?;
        incoming = back;
        if !fits {
            return Err(Failure::invalid("chunk", "expected no more bytes than were announced"));
        }
    }
    let missing = incoming.missing();
    if missing > 0 {
        let message = format!("expected {missing} more bytes, found the end");
        return Err(Failure::invalid("chunk", message));
    }
    let adapters = Arc::clone(adapters);
    // Reads all of it.
    let kept = tokio::task::spawn_blocking(move || adapters.keep(&digest, incoming)).await;
    kept.map_err(|error| Failure::Internal(error.to_string()))??;
    Ok(false)
}

/// Whether a text is a digest as it travels.
pub(super) fn is_digest(text: &str) -> bool {
    text.parse::<Digest>().is_ok()
}

impl From<PutError> for Failure {
    fn from(error: PutError) -> Self {
        match &error {
            PutError::Digest { .. } => Self::invalid("header.digest", error),
            PutError::Adapter(_) => Self::invalid("adapter", error),
            PutError::TooLarge { .. } | PutError::Busy { .. } => Self::Exhausted(error.to_string()),
            PutError::Disk(_) => Self::Internal(error.to_string()),
        }
    }
}
