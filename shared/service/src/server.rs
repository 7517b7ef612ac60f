use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cogwheel_api::FILE_DESCRIPTOR_SET;
use tokio::sync::watch;
use tonic::codegen::http;
use tonic::service::Routes;
use tower::util::option_layer;
use tracing::{Span, error, info, warn};

use cogwheel_engine::Readiness;

use crate::access::AccessLayer;
use crate::activity::ActivityLayer;
use crate::health::Condition;
use crate::listener::incoming;
use crate::methods::Methods;
use crate::metrics::{self, RequestLayer};
use crate::page::{Page, PageLayer};
use crate::receiving::ReceivingLayer;
use crate::status::STATUS_SERVICE;
use crate::{Fatal, Health, Limits, Listener, Shutdown, StageStatus, TraceContext};

/// Window of a stream: gRPC's 64 KiB would stop tensors at every chunk. That of a connection is so many times larger as it may
/// have streams, so that those whose bytes nobody reads yet, since they wait for a place, leave the others theirs.
const WINDOW: u32 = 1 << 20;
/// The largest window that HTTP/2 knows.
const MAX_WINDOW: u32 = (1 << 31) - 1;
/// A peer that does not answer a ping for so long is gone.
const KEEPALIVE: Duration = Duration::from_secs(20);

/// Bytes of a question to reflection, which everybody may ask: names.
const MAX_QUESTION: usize = 64 << 10;

/// What a drained server gives connections to send the last bytes they hold.
const FLUSH: Duration = Duration::from_secs(1);

/// gRPC services of one process, with health and reflection beside them.
#[derive(Debug)]
pub struct Server {
    name: &'static str,
    services: Vec<&'static str>,
    model: Option<String>,
    waits_for: &'static str,
    routes: Routes,
    readiness: watch::Receiver<Readiness>,
    page: Option<Page>,
}

impl Server {
    /// A server of `routes`, called `name` in logs; `service` is its full gRPC name, under which
    /// its health is told.
    pub fn new(
        name: &'static str,
        service: &'static str,
        routes: Routes,
        readiness: watch::Receiver<Readiness>,
    ) -> Self {
        let (model, waits_for) = (None, "its model to be loaded and run once");
        Self { name, services: vec![service], model, waits_for, routes, readiness, page: None }
    }

    /// The same with the health of a checkpoint's model, under the name of its folder.
    #[must_use]
    pub fn with_model(mut self, folder: &Path) -> Self {
        // Also where the folder is given as a link or as `.`.
        let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        self.model = folder.file_name().map(|name| format!("model/{}", name.to_string_lossy()));
        self
    }

    /// The same with other words for what comes before it is ready.
    #[must_use]
    pub fn waits_for(mut self, what: &'static str) -> Self {
        self.waits_for = what;
        self
    }

    /// The same with another service among its routes, whose health is that of the first.
    #[must_use]
    pub fn with(mut self, service: &'static str) -> Self {
        self.services.push(service);
        self
    }

    /// The same with what a stage's orchestrators want to know of it.
    #[must_use]
    pub fn with_status(mut self, status: StageStatus) -> Self {
        self.routes = self.routes.add_service(status.service());
        self.with(STATUS_SERVICE)
    }

    /// The same with a page for browsers, which call the services by gRPC-Web; without one only
    /// gRPC is spoken.
    #[must_use]
    pub fn with_page(mut self, page: Option<Page>) -> Self {
        self.page = page;
        self
    }

    /// Serves until `shutdown` begins, then drains.
    ///
    /// # Errors
    /// When the transport fails, or what the service needs could not be loaded.
    pub async fn serve(
        self,
        listener: Listener,
        limits: Limits,
        shutdown: &Shutdown,
    ) -> Result<(), Fatal> {
        metrics::begin(self.name);
        let health = Health::default();
        let says = Says {
            name: self.name,
            names: self
                .services
                .iter()
                .map(|&service| service.to_owned())
                .chain(self.model)
                .collect(),
            waits_for: self.waits_for,
            healths: [health.clone(), shutdown.health().clone()],
        };
        health.begin().await;
        says.condition(Condition::Waiting(self.waits_for)).await;
        let reflected = |error| Fatal::failed(format!("reflection: {error}"));
        let mut routes = self.routes;
        let router = std::mem::take(routes.axum_router_mut());
        *routes.axum_router_mut() = router.merge(health.router());
        if limits.reflection {
            let reflection = || reflection(&self.services);
            let service = reflection().build_v1().map_err(reflected)?;
            routes = routes.add_service(service.max_decoding_message_size(MAX_QUESTION));
            // What clients that are not of this year ask for.
            let service = reflection().build_v1alpha().map_err(reflected)?;
            routes = routes.add_service(service.max_decoding_message_size(MAX_QUESTION));
        }
        listener.access.watch();
        let name = self.name;
        let methods = Arc::new(Methods::of(&self.services));
        let traced = Arc::clone(&methods);
        let local = listener.address().is_none_or(|address| address.ip().is_loopback());
        let router = tonic::transport::Server::builder()
            .trace_fn(move |request| call_span(name, &traced, request))
            .max_concurrent_streams(limits.max_streams)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(
                WINDOW.saturating_mul(limits.max_streams).min(MAX_WINDOW),
            )
            .http2_keepalive_interval(Some(KEEPALIVE))
            .http2_keepalive_timeout(Some(KEEPALIVE))
            // Browsers have no HTTP/2 without TLS. A connection of theirs has one call at a time.
            .accept_http1(self.page.is_some())
            .layer(ActivityLayer::default())
            .layer(option_layer(self.page.map(|page| PageLayer { page, local })))
            // Counts also what those below turn away.
            .layer(RequestLayer::new(name, methods))
            .layer(AccessLayer(listener.access.clone()))
            .layer(ReceivingLayer::new(limits.max_receiving_bytes))
            .add_routes(routes);

        let watcher = tokio::spawn(watch_readiness(says, self.readiness.clone(), shutdown.clone()));
        let ended = shutdown.draining();
        let serving = async {
            if let Some(address) = listener.address() {
                info!(service = self.name, %address, tls = listener.has_tls(), "listening");
                match (listener.access.is_open(), listener.is_mutual, local) {
                    (false, _, _) => {}
                    (true, true, _) => info!(
                        service = self.name,
                        "open to everybody with a certificate of --tls-client-ca"
                    ),
                    (true, false, true) => {
                        info!(service = self.name, "open to everybody on this machine");
                    }
                    (true, false, false) => warn!(
                        service = self.name,
                        "open to everybody who reaches the port: no tokens and no identities are set"
                    ),
                }
            }
            let connections = incoming(listener, &limits);
            let served = router.serve_with_incoming_shutdown(connections, ended).await;
            served.map_err(|error| Fatal::failed(format!("{}: {error}", self.name)))
        };
        let drained = async {
            shutdown.draining().await;
            let running = shutdown.tracker().len();
            info!(
                service = self.name,
                running, "draining: no new work, a second signal cuts what runs"
            );
            let cut = shutdown.drain(limits.grace).await;
            if cut > 0 {
                warn!(service = self.name, cut, "work outlasted the grace time and was cut");
            }
        };
        tokio::pin!(serving, drained);
        let ended = tokio::select! {
            result = &mut serving => Some(result),
            () = &mut drained => None,
        };
        let result = match ended {
            // Connections that close first must not hide what the drain has to say.
            Some(result) => {
                if shutdown.is_draining() {
                    drained.await;
                }
                result
            }
            // A connection that never closes must not keep a drained process alive.
            None => tokio::time::timeout(FLUSH, serving).await.unwrap_or(Ok(())),
        };
        watcher.abort();
        match &*self.readiness.borrow() {
            Readiness::Failed(message) => Err(Fatal::usage(format!("{}: {message}", self.name))),
            _ => result,
        }
    }
}

/// Where a server's condition is told: on its own port and, with that of the other servers of the process, on the admin port.
struct Says {
    name: &'static str,
    names: Vec<String>,
    waits_for: &'static str,
    healths: [Health; 2],
}

impl Says {
    async fn condition(&self, condition: Condition) {
        metrics::ready(self.name, condition == Condition::Ready);
        for health in &self.healths {
            health.set(self.name, &self.names, condition.clone()).await;
        }
    }
}

/// Tells health what readiness says; not serving as soon as a drain begins. What cannot be loaded
/// ends the process.
async fn watch_readiness(
    says: Says,
    mut readiness: watch::Receiver<Readiness>,
    shutdown: Shutdown,
) {
    let service = says.name;
    while !shutdown.is_draining() {
        let now = readiness.borrow_and_update().clone();
        match now {
            Readiness::Loading => says.condition(Condition::Waiting(says.waits_for)).await,
            Readiness::Ready => {
                says.condition(Condition::Ready).await;
                info!(service, "ready");
            }
            Readiness::Failed(message) => {
                error!(service, message, "cannot be loaded");
                says.condition(Condition::Failed(message)).await;
                shutdown.begin();
                return;
            }
        }
        tokio::select! {
            () = shutdown.draining() => break,
            changed = readiness.changed() => if changed.is_err() {
                // Whoever loads is gone; what was last said stays true until the drain.
                shutdown.draining().await;
                break;
            },
        }
    }
    says.condition(Condition::Draining).await;
}

/// Descriptors of what this server has: its services and health.
fn reflection(services: &[&'static str]) -> tonic_reflection::server::Builder<'static> {
    let builder = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .with_service_name("grpc.health.v1.Health");
    services.iter().fold(builder, |builder, service| builder.with_service_name(*service))
}

/// What is logged while a call is served says which service serves it, and for which trace. Where spans are told to a
/// collector, it is the caller's next one, but for calls that only watch and for a page.
fn call_span(service: &'static str, methods: &Methods, request: &http::Request<()>) -> Span {
    let caller = TraceContext::of(request.headers());
    let trace_id = caller.as_ref().map(|caller| tracing::field::display(caller.id()));
    let is_call = request.method() == http::Method::POST;
    let Some(method) = methods.label(request.uri().path()).filter(|_| is_call) else {
        return tracing::debug_span!("call", service, trace_id);
    };
    let span = tracing::info_span!("call", service, method, trace_id, otel.kind = "server");
    match caller {
        Some(caller) => caller.adopt(&span),
        None => {
            if let Some(begun) = TraceContext::of_span(&span) {
                span.record("trace_id", tracing::field::display(begun.id()));
            }
        }
    }
    span
}
