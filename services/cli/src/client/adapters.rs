use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use cogwheel_api::adapter::v1::adapter_service_client::AdapterServiceClient;
use cogwheel_api::adapter::v1::{
    Adapter, CreateAdapterHeader, CreateAdapterRequest, DeleteAdapterRequest, GetAdapterRequest,
    ListAdaptersRequest, create_adapter_request::Part,
};
use cogwheel_lora::AdapterFiles;
use cogwheel_service::{Address, Fatal, Link};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{Server, fatal};

/// Bytes of one message.
const CHUNK: u64 = 1 << 20;
/// Chunks read ahead of the network.
const READ_AHEAD: usize = 2;
/// Bytes of a list: a server keeps a few hundred adapters, each described in a few kilobytes.
const MAX_ANSWER: usize = 64 << 20;

/// An adapter on this side.
#[derive(Clone, Debug)]
pub struct Upload {
    /// What to call it.
    pub name: String,
    /// Stated in place of what the file says.
    pub alpha: Option<f64>,
    /// Where it is.
    pub files: AdapterFiles,
}

/// The adapters of a server.
#[derive(Debug)]
pub struct Adapters {
    address: Address,
    client: AdapterServiceClient<Link>,
}

impl Adapters {
    /// Those of a server.
    pub fn of(server: &Server) -> Self {
        let Server { address, link } = server;
        let client = AdapterServiceClient::new(link.clone());
        Self { address: address.clone(), client: client.max_decoding_message_size(MAX_ANSWER) }
    }

    /// Sends an adapter's files up, in bounded memory.
    ///
    /// # Errors
    /// A file that cannot be read, and what the server answers.
    pub async fn add(&mut self, upload: Upload) -> Result<Option<Adapter>, Fatal> {
        let (sender, requests) = mpsc::channel(READ_AHEAD);
        let reading = tokio::task::spawn_blocking(move || read(&upload, &sender));
        let answer = self.client.create_adapter(ReceiverStream::new(requests)).await;
        // A file that cannot be read is why the server found it too short.
        reading.await.map_err(Fatal::failed)?.map_err(Fatal::usage)?;
        let answer = answer.map_err(|status| fatal(&self.address, &status))?;
        Ok(answer.into_inner().adapter)
    }

    /// All of them.
    ///
    /// # Errors
    /// What the server answers.
    pub async fn list(&mut self) -> Result<Vec<Adapter>, Fatal> {
        let answer = self.client.list_adapters(ListAdaptersRequest {}).await;
        Ok(answer.map_err(|status| fatal(&self.address, &status))?.into_inner().adapters)
    }

    /// One of them.
    ///
    /// # Errors
    /// What the server answers.
    pub async fn get(&mut self, name: String) -> Result<Option<Adapter>, Fatal> {
        let answer = self.client.get_adapter(GetAdapterRequest { name }).await;
        Ok(answer.map_err(|status| fatal(&self.address, &status))?.into_inner().adapter)
    }

    /// Takes a name back; gives whether there was one.
    ///
    /// # Errors
    /// What the server answers.
    pub async fn remove(&mut self, name: String) -> Result<bool, Fatal> {
        let answer = self.client.delete_adapter(DeleteAdapterRequest { name }).await;
        Ok(answer.map_err(|status| fatal(&self.address, &status))?.into_inner().deleted)
    }
}

/// Sends the header and the bytes, until they are sent or nobody wants them.
fn read(upload: &Upload, sender: &mpsc::Sender<CreateAdapterRequest>) -> Result<(), String> {
    let Upload { name, alpha, files } = upload;
    let open = |path: &Path| -> io::Result<(File, u64)> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        Ok((file, length))
    };
    let unreadable = |path: &Path, error: io::Error| format!("{}: {error}", path.display());
    let mut opened = Vec::new();
    for path in [Some(&files.weights), files.config.as_ref()].into_iter().flatten() {
        opened.push((path, open(path).map_err(|error| unreadable(path, error))?));
    }
    let length = |index: usize| opened.get(index).map_or(0, |(_, (_, length))| *length);
    let header = CreateAdapterHeader {
        name: name.clone(),
        alpha: *alpha,
        weights_byte_length: length(0),
        config_byte_length: length(1),
        ..CreateAdapterHeader::default()
    };
    let send = |part| sender.blocking_send(CreateAdapterRequest { part: Some(part) }).is_ok();
    let mut goes_on = send(Part::Header(header));
    for (path, (mut file, mut left)) in opened {
        while goes_on && left > 0 {
            let size = left.min(CHUNK);
            let mut chunk = vec![0; usize::try_from(size).unwrap_or_default()];
            file.read_exact(&mut chunk).map_err(|error| unreadable(path, error))?;
            left -= size;
            goes_on = send(Part::Chunk(chunk.into()));
        }
    }
    Ok(())
}
