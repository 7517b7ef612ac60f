//! The gRPC side of the registry.

mod linger;
mod upload;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cogwheel_api::adapter::v1::adapter_service_server::AdapterService;
use cogwheel_api::adapter::v1::{
    CreateAdapterHeader, CreateAdapterRequest, CreateAdapterResponse, DeleteAdapterRequest,
    DeleteAdapterResponse, GetAdapterRequest, GetAdapterResponse, ListAdaptersRequest,
    ListAdaptersResponse, create_adapter_request::Part,
};
use cogwheel_service::{Failure, Gate, Invalid, Shutdown, receive};
use tonic::{Request, Response, Status, Streaming};
use tracing::Instrument as _;

use crate::pins::Pinning;
use crate::plan::expected;
use crate::registry::{Adapters, Registration, Registry, check_adapter_name};
use linger::linger;

/// Adapters that are read or received at once: each takes a file's length of disk and reads all of
/// it, so that a few keep the machine busy.
const MAX_CREATIONS: usize = 8;

/// The adapters' public API.
pub(super) struct Service {
    registry: Arc<Registry>,
    pinning: Arc<Pinning>,
    creations: Gate,
}

impl Service {
    pub(super) fn new(registry: Arc<Registry>, pinning: Arc<Pinning>, shutdown: &Shutdown) -> Self {
        let creations = Gate::new("the orchestrator's adapter registry", MAX_CREATIONS, shutdown);
        Self { registry, pinning, creations }
    }

    /// Has the denoiser told, which nobody waits for, that a name stands for an adapter now.
    fn pin(&self, name: String) {
        let (pinning, adapters) = (Arc::clone(&self.pinning), self.registry.adapters());
        let tell = async move { pinning.registered(&name, &adapters).await };
        tokio::spawn(tell.in_current_span());
    }

    /// The same of a name that stood for one of `adapters`.
    fn unpin(&self, name: String, adapters: Arc<Adapters>) {
        let pinning = Arc::clone(&self.pinning);
        let tell = async move { pinning.deleted(&name, &adapters).await };
        tokio::spawn(tell.in_current_span());
    }

    async fn create(
        &self,
        messages: &mut Streaming<CreateAdapterRequest>,
    ) -> Result<CreateAdapterResponse, Failure> {
        let first = receive(messages).await?.and_then(|first| first.part);
        let Some(Part::Header(header)) = first else {
            return Err(Failure::invalid("header", "expected the header first"));
        };
        check(&header)?;
        self.registry.check_room(&header.name)?;
        let name = header.name.clone();
        let registration = Registration { name: header.name.clone(), alpha: header.alpha };
        let registry = Arc::clone(&self.registry);
        let adapter = if header.path.is_empty() {
            let incoming = upload::receive_files(&self.registry, &header, messages).await?;
            blocking(move || registry.create_of(registration, incoming)).await?
        } else {
            if receive(messages).await?.is_some() {
                let message = "expected nothing after a header with a path, found more";
                return Err(Failure::invalid("chunk", message));
            }
            let (path, weight_name) = (PathBuf::from(header.path), header.weight_name);
            let create = move || {
                let weight_name = Some(weight_name.as_str()).filter(|name| !name.is_empty());
                registry.create_at(registration, Path::new(&path), weight_name)
            };
            blocking(create).await?
        };
        self.pin(name);
        Ok(CreateAdapterResponse { adapter: Some(adapter.message()) })
    }
}

/// Everything that is wrong with a header, but for lengths and paths.
fn check(header: &CreateAdapterHeader) -> Result<(), Failure> {
    let mut invalid = Invalid::default();
    if let Err(message) = check_adapter_name(&header.name) {
        invalid.add("name", message);
    }
    if let Some(found) = header.alpha.filter(|alpha| !alpha.is_finite() || *alpha <= 0.0) {
        invalid.add("alpha", format!("expected a positive number, found {found}"));
    }
    if header.path.is_empty() && !header.weight_name.is_empty() {
        let message = "expected none without a path, since the file is sent, found one";
        invalid.add("weight_name", message);
    }
    if !header.path.is_empty() {
        let lengths = [
            ("weights_byte_length", header.weights_byte_length),
            ("config_byte_length", header.config_byte_length),
        ];
        for (field, found) in lengths.into_iter().filter(|(_, length)| *length != 0) {
            invalid.add(field, format!("expected 0 with a path, found {found}"));
        }
    }
    invalid.or(())
}

#[tonic::async_trait]
impl AdapterService for Service {
    async fn create_adapter(
        &self,
        request: Request<Streaming<CreateAdapterRequest>>,
    ) -> Result<Response<CreateAdapterResponse>, Status> {
        let call = self.creations.admit(request.metadata())?;
        let mut messages = request.into_inner();
        let created = call.receive(self.create(&mut messages)).await;
        if let Err(failure) = &created {
            tracing::warn!(%failure, "adapter refused");
            // One that is about to end waits for nobody.
            if !matches!(failure, Failure::Draining) {
                linger(&mut messages).await;
            }
        }
        Ok(Response::new(created?))
    }

    async fn get_adapter(
        &self,
        request: Request<GetAdapterRequest>,
    ) -> Result<Response<GetAdapterResponse>, Status> {
        let name = named(request.into_inner().name)?;
        match self.registry.adapters().get(&name) {
            Some(adapter) => {
                Ok(Response::new(GetAdapterResponse { adapter: Some(adapter.message()) }))
            }
            None => {
                let expected = expected(&name, &self.registry.adapters());
                Err(Failure::NotFound { kind: "adapter", name, expected }.into())
            }
        }
    }

    async fn list_adapters(
        &self,
        _: Request<ListAdaptersRequest>,
    ) -> Result<Response<ListAdaptersResponse>, Status> {
        let adapters = self.registry.adapters();
        let adapters = adapters.values().map(|adapter| adapter.message()).collect();
        Ok(Response::new(ListAdaptersResponse { adapters }))
    }

    async fn delete_adapter(
        &self,
        request: Request<DeleteAdapterRequest>,
    ) -> Result<Response<DeleteAdapterResponse>, Status> {
        let name = named(request.into_inner().name)?;
        let (registry, before) = (Arc::clone(&self.registry), self.registry.adapters());
        let deleted = blocking({
            let name = name.clone();
            move || registry.delete(&name)
        });
        let deleted = deleted.await?;
        if deleted {
            self.unpin(name, before);
        }
        Ok(Response::new(DeleteAdapterResponse { deleted }))
    }
}

fn named(name: String) -> Result<String, Failure> {
    check_adapter_name(&name).map_err(|message| Failure::invalid("name", message))?;
    Ok(name)
}

/// Runs work on files on a thread made for that.
///
/// # Cancel safety
/// Work that has begun is finished, whoever leaves: it leaves nothing half done.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Failure::Internal(format!("the adapter registry: {error}"))),
    }
}

#[cfg(test)]
mod tests;
