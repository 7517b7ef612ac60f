use std::io::{self, Write as _};

use bytes::{Buf as _, Bytes};
use cogwheel_api::adapter::v1::{
    CreateAdapterHeader, CreateAdapterRequest, create_adapter_request::Part,
};
use cogwheel_service::{Failure, Invalid, receive};
use tokio::sync::mpsc;
use tonic::Streaming;

use crate::registry::{Incoming, Registry};

/// Bytes of an `adapter_config.json`: published ones have one kilobyte.
const MAX_CONFIG_BYTES: u64 = 1 << 20;
/// Chunks that wait for the disk.
const BUFFERED: usize = 4;

/// Receives an adapter's files into places of the registry. Lengths are checked before a byte is
/// taken, each chunk is written as it comes, and nothing is left of what does not come to its end.
///
/// # Errors
/// [`Failure::Invalid`] for lengths that will not do or that the bytes do not keep to, what
/// [`receive`] gives, and what the disk says.
pub(super) async fn receive_files(
    registry: &Registry,
    header: &CreateAdapterHeader,
    messages: &mut Streaming<CreateAdapterRequest>,
) -> Result<Incoming, Failure> {
    let lengths = lengths(registry, header)?;
    let incoming = registry.incoming(lengths[1] > 0)?;
    let (sender, chunks) = mpsc::channel(BUFFERED);
    let writing = tokio::task::spawn_blocking(move || write(incoming, lengths[0], chunks));
    let received = receive_bytes(lengths[0].saturating_add(lengths[1]), messages, &sender).await;
    drop(sender);
    let written = writing.await.map_err(|error| Failure::Internal(error.to_string()))?;
    // A disk that is full is why nobody took the next chunk.
    let incoming = written.map_err(|error| crate::registry::unwritten(&error))?;
    received.map(|()| incoming)
}

fn lengths(registry: &Registry, header: &CreateAdapterHeader) -> Result<[u64; 2], Failure> {
    let lengths = [header.weights_byte_length, header.config_byte_length];
    let mut invalid = Invalid::default();
    let limit = registry.max_bytes;
    if !(1..=limit).contains(&lengths[0]) {
        let message = format!(
            "expected 1 to {limit} bytes, as this server's --max-adapter-bytes says, or a path, found {}",
            lengths[0]
        );
        invalid.add("weights_byte_length", message);
    }
    if lengths[1] > MAX_CONFIG_BYTES {
        let message = format!("expected at most {MAX_CONFIG_BYTES} bytes, found {}", lengths[1]);
        invalid.add("config_byte_length", message);
    }
    invalid.or(lengths)
}

async fn receive_bytes(
    expected: u64,
    messages: &mut Streaming<CreateAdapterRequest>,
    sender: &mpsc::Sender<Bytes>,
) -> Result<(), Failure> {
    let mut found: u64 = 0;
    while let Some(message) = receive(messages).await? {
        let chunk = match message.part {
            Some(Part::Chunk(chunk)) if !chunk.is_empty() => chunk,
            Some(Part::Header(_)) => {
                return Err(Failure::invalid("header", "expected one header, found two"));
            }
            // Nor is a stream of nothing a way to stay.
            Some(Part::Chunk(_)) | None => {
                return Err(Failure::invalid("chunk", "expected bytes, found none"));
            }
        };
        found = found.saturating_add(chunk.len() as u64);
        if found > expected {
            let message = format!("expected {expected} bytes, as the header says, found more");
            return Err(Failure::invalid("chunk", message));
        }
        if sender.send(chunk).await.is_err() {
            // The writer has given up and says why.
            return Ok(());
        }
    }
    if found < expected {
        let message = format!("expected {expected} bytes, as the header says, found {found}");
        return Err(Failure::invalid("chunk", message));
    }
    Ok(())
}

fn write(
    mut incoming: Incoming,
    weights_length: u64,
    mut chunks: mpsc::Receiver<Bytes>,
) -> io::Result<Incoming> {
    let mut left = weights_length;
    while let Some(mut chunk) = chunks.blocking_recv() {
        let here = usize::try_from(left).map_or(chunk.len(), |left| left.min(chunk.len()));
        incoming.weights.write_all(&chunk.split_to(here))?;
        left -= here as u64;
        if chunk.has_remaining()
            && let Some(config) = &mut incoming.config
        {
            config.write_all(&chunk)?;
        }
    }
    Ok(incoming)
}
