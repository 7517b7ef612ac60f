use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

use bytes::BytesMut;
use cogwheel_api::denoiser::v1::{
    PutAdapterRequest, denoiser_service_client::DenoiserServiceClient, put_adapter_request::Part,
};
use cogwheel_service::Failure;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

use super::{Place, Terms};
use crate::registry::RegisteredAdapter;

/// Bytes of one message: well below what gRPC takes, large enough that messages cost nothing.
const CHUNK: usize = 1 << 20;
/// Chunks read ahead of the network.
const READ_AHEAD: usize = 2;

impl Place {
    /// Hands an adapter's files over to the denoiser, in bounded memory. Gives whether they were there before.
    ///
    /// # Errors
    /// What the stage answers, or that the file is not what it was when it was registered.
    #[tracing::instrument(name = "stage call", skip_all, fields(method = "DenoiserService/PutAdapter", address = self.address(), otel.kind = "client"))]
    pub(crate) async fn put_adapter(
        &self,
        adapter: &Arc<RegisteredAdapter>,
        terms: &Terms,
    ) -> Result<bool, Failure> {
        let _turn = self.handing.lock().await;
        let (sender, requests) = mpsc::channel(READ_AHEAD);
        let reading = tokio::task::spawn_blocking({
            let adapter = Arc::clone(adapter);
            move || read(&adapter, &sender)
        });
        let mut client = DenoiserServiceClient::new(self.channel());
        let answer = client.put_adapter(terms.request(ReceiverStream::new(requests))).await;
        // A file that cannot be read is why the denoiser found it too short.
        let unreadable = |error: io::Error| {
            // Where it lies here is nothing to tell a client.
            let path = adapter.files().weights.display();
            tracing::warn!(name = adapter.name(), %path, %error, "an adapter's file cannot be read");
            Failure::Unfit(format!(
                "adapter '{}': its file cannot be read: {error}",
                adapter.name()
            ))
        };
        reading.await.map_err(|error| Failure::Internal(error.to_string()))?.map_err(unreadable)?;
        answer.map(|answer| answer.into_inner().known).map_err(|status| match status.code() {
            // The request is in order, and so was the file: it has been written over since.
            Code::InvalidArgument => {
                let (name, answer) = (adapter.name(), status.message());
                tracing::warn!(name, answer, "the denoiser refuses an adapter that was registered");
                Failure::Unfit(format!("adapter '{name}': its file is not what was registered"))
            }
            _ => self.failure(status),
        })
    }
}

/// Sends the header and the bytes, until they are sent or nobody wants them.
fn read(adapter: &RegisteredAdapter, sender: &mpsc::Sender<PutAdapterRequest>) -> io::Result<()> {
    let header = adapter.put_header();
    let lengths = [header.weights_byte_length, header.config_byte_length];
    let send = |part| sender.blocking_send(PutAdapterRequest { part: Some(part) }).is_ok();
    if !send(Part::Header(header)) {
        return Ok(());
    }
    let files = adapter.files();
    for (path, length) in [Some(&files.weights), files.config.as_ref()].into_iter().zip(lengths) {
        let Some(path) = path else { continue };
        if !send_file(path, length, &mut |chunk| send(Part::Chunk(chunk)))? {
            return Ok(());
        }
    }
    Ok(())
}

/// Whether someone still wants more.
fn send_file(
    path: &Path,
    length: u64,
    send: &mut dyn FnMut(bytes::Bytes) -> bool,
) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let found = file.metadata()?.len();
    if found != length {
        let expected = format!("expected {length} bytes, as when it was registered, found {found}");
        return Err(io::Error::other(expected));
    }
    let mut left = length;
    while left > 0 {
        let size = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        let mut chunk = BytesMut::zeroed(size);
        file.read_exact(&mut chunk)?;
        if !send(chunk.freeze()) {
            return Ok(false);
        }
        left -= size as u64;
    }
    Ok(true)
}
