use std::future::poll_fn;
use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use cogwheel_api::FILE_DESCRIPTOR_SET;
use futures_util::stream;
use tokio::sync::watch;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tower::util::option_layer;
use tracing::{error, info, warn};

use cogwheel_engine::Readiness;

use crate::config::{Entry, FileTables, Identity, TableKind, Token};
use crate::page::{Page, PageLayer};
use crate::{Fatal, Listener, Shutdown, TraceId};

/// Window of a stream and of a connection: gRPC's 64 KiB would stop tensors at every chunk.
const WINDOW: u32 = 4 << 20;
/// A peer that does not answer a ping for so long is gone.
const KEEPALIVE: Duration = Duration::from_secs(20);

/// What a drained server gives connections to send the last bytes they hold.
const FLUSH: Duration = Duration::from_secs(1);

/// Settings that every server has.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Server")]
pub struct ServerArgs {
    /// Address to listen on; port 0 takes a free one and logs it
    #[arg(long, env = "COGWHEEL_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:50051")]
    pub listen: SocketAddr,
    /// Seconds that running work may take after a termination signal
    #[arg(long, env = "COGWHEEL_GRACE_SECONDS", value_name = "SECONDS", default_value_t = 30)]
    pub grace_seconds: u64,
    /// Calls at once on one connection; more wait
    #[arg(long, env = "COGWHEEL_MAX_STREAMS", value_name = "N", default_value_t = 128)]
    pub max_streams: u32,
    /// Tokens that clients may have.
    #[arg(skip)]
    pub tokens: Vec<Entry<Token>>,
    /// Clients that are known by their certificates.
    #[arg(skip)]
    pub identities: Vec<Entry<Identity>>,
}

impl ServerArgs {
    /// The tables that only a file has.
    pub const TABLES: [TableKind; 2] = [TableKind::of::<Token>(), TableKind::of::<Identity>()];

    /// Takes these tables.
    ///
    /// # Errors
    /// When there are any: a server that did not heed them would be open to everybody.
    pub fn take_tables(&mut self, tables: &mut FileTables) -> Result<(), Fatal> {
        self.tokens = tables.take();
        self.identities = tables.take();
        let places = self.tokens.iter().map(|entry| &entry.place);
        match places.chain(self.identities.iter().map(|entry| &entry.place)).next() {
            Some(place) => Err(Fatal::usage(format!(
                "{place}: expected no tokens and identities, which this build cannot check yet"
            ))),
            None => Ok(()),
        }
    }
}

/// What bounds a server.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Calls at once on one connection.
    pub max_streams: u32,
    /// Time that running work may take once a drain has begun.
    pub grace: Duration,
}

impl From<&ServerArgs> for Limits {
    fn from(args: &ServerArgs) -> Self {
        Self { max_streams: args.max_streams, grace: Duration::from_secs(args.grace_seconds) }
    }
}

/// gRPC services of one process, with health and reflection beside them.
#[derive(Debug)]
pub struct Server {
    name: &'static str,
    services: Vec<&'static str>,
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
        Self { name, services: vec![service], routes, readiness, page: None }
    }

    /// The same with another service among its routes, whose health is that of the first.
    #[must_use]
    pub fn with(mut self, service: &'static str) -> Self {
        self.services.push(service);
        self
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
        let (reporter, health) = tonic_health::server::health_reporter();
        report(&reporter, &self.services, ServingStatus::NotServing).await;
        let reflected = |error| Fatal::failed(format!("reflection: {error}"));
        let reflection = reflection(&self.services).build_v1().map_err(reflected)?;
        // What clients that are not of this year ask for.
        let reflection_alpha =
            self::reflection(&self.services).build_v1alpha().map_err(reflected)?;
        let name = self.name;
        let local = listener.address().is_none_or(|address| address.ip().is_loopback());
        let router = tonic::transport::Server::builder()
            .trace_fn(move |request| call_span(name, request.headers()))
            .max_concurrent_streams(limits.max_streams)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .http2_keepalive_interval(Some(KEEPALIVE))
            .http2_keepalive_timeout(Some(KEEPALIVE))
            .tcp_nodelay(true)
            // Browsers have no HTTP/2 without TLS. A connection of theirs has one call at a time.
            .accept_http1(self.page.is_some())
            .layer(option_layer(self.page.map(|page| PageLayer { page, local })))
            .add_routes(self.routes)
            .add_service(health)
            .add_service(reflection)
            .add_service(reflection_alpha);

        let watcher = tokio::spawn(watch_readiness(
            reporter,
            (self.name, self.services),
            self.readiness.clone(),
            shutdown.clone(),
        ));
        let ended = shutdown.draining();
        let serving = async {
            match listener {
                Listener::Tcp(tcp) => {
                    let address = tcp.local_addr().map_err(Fatal::failed)?;
                    info!(service = self.name, %address, "listening");
                    router.serve_with_incoming_shutdown(TcpListenerStream::new(tcp), ended).await
                }
                Listener::Memory(mut connections) => {
                    let incoming = stream::poll_fn(move |cx| {
                        connections.poll_recv(cx).map(|next| next.map(Ok::<_, std::io::Error>))
                    });
                    router.serve_with_incoming_shutdown(incoming, ended).await
                }
            }
            .map_err(|error| Fatal::failed(format!("{}: {error}", self.name)))
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

/// Tells health what readiness says; not serving as soon as a drain begins. What cannot be loaded
/// ends the process.
async fn watch_readiness(
    reporter: HealthReporter,
    (name, services): (&'static str, Vec<&'static str>),
    mut readiness: watch::Receiver<Readiness>,
    shutdown: Shutdown,
) {
    loop {
        let status = match readiness.borrow_and_update().clone() {
            Readiness::Loading => ServingStatus::NotServing,
            Readiness::Ready => {
                info!(service = name, "ready");
                ServingStatus::Serving
            }
            Readiness::Failed(message) => {
                error!(service = name, message, "cannot be loaded");
                shutdown.begin();
                ServingStatus::NotServing
            }
        };
        report(&reporter, &services, status).await;
        tokio::select! {
            () = shutdown.draining() => break,
            changed = readiness.changed() => if changed.is_err() {
                // Whoever loads is gone; what was last said stays true until the drain.
                shutdown.draining().await;
                break;
            },
        }
    }
    report(&reporter, &services, ServingStatus::NotServing).await;
    poll_fn(|_| std::task::Poll::<()>::Pending).await;
}

/// Descriptors of what this server has: its services and health.
fn reflection(services: &[&'static str]) -> tonic_reflection::server::Builder<'static> {
    let builder = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .with_service_name("grpc.health.v1.Health");
    services.iter().fold(builder, |builder, service| builder.with_service_name(*service))
}

/// What is logged while a call is served says which service serves it, and for which trace.
fn call_span(service: &'static str, headers: &tonic::codegen::http::HeaderMap) -> tracing::Span {
    let header = headers.get("traceparent").and_then(|value| value.to_str().ok());
    match header.and_then(TraceId::parse) {
        Some(trace_id) => tracing::info_span!("call", service, %trace_id),
        None => tracing::info_span!("call", service),
    }
}

/// Sets the status of the services and of the process as a whole.
async fn report(reporter: &HealthReporter, services: &[&str], status: ServingStatus) {
    for service in services {
        reporter.set_service_status(*service, status).await;
    }
    reporter.set_service_status("", status).await;
}
