use std::io::Read as _;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use clap::{Args as _, Command, FromArgMatches as _};
use cogwheel_api::stage::v1::stage_service_client::StageServiceClient;
use cogwheel_api::stage::v1::stage_service_server::{StageService, StageServiceServer};
use cogwheel_api::stage::v1::{WatchStatusRequest, WatchStatusResponse};
use cogwheel_engine::Readiness;
use cogwheel_service::{
    Address, Dialer, DialerSettings, Fatal, Limits, Link, Server, ServerArgs, Shutdown,
};
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::certificates::Pair;

/// Nothing here takes so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A service whose calls go on until their caller leaves.
struct Endless;

#[tonic::async_trait]
impl StageService for Endless {
    type WatchStatusStream = BoxStream<'static, Result<WatchStatusResponse, Status>>;

    async fn watch_status(
        &self,
        _: Request<WatchStatusRequest>,
    ) -> Result<Response<Self::WatchStatusStream>, Status> {
        let first = stream::iter([Ok(WatchStatusResponse::default())]);
        Ok(Response::new(first.chain(stream::pending()).boxed()))
    }
}

/// A server on a port of its own, with health, reflection and calls that do not end.
pub(crate) struct Door {
    pub(crate) address: SocketAddr,
    ready: watch::Sender<Readiness>,
    shutdown: Shutdown,
    serving: JoinHandle<Result<(), Fatal>>,
}

impl Door {
    /// Opens it with these flags.
    pub(crate) async fn open(flags: &[&str]) -> Self {
        Self::try_open(flags).await.unwrap()
    }

    /// As [`Self::open`], or what keeps it from opening.
    pub(crate) async fn try_open(flags: &[&str]) -> Result<Self, Fatal> {
        Self::open_with(flags, None).await
    }

    /// Opens it with the tables of a file of settings.
    pub(crate) async fn open_with(flags: &[&str], file: Option<&Path>) -> Result<Self, Fatal> {
        let command = ServerArgs::augment_args(Command::new("door").no_binary_name(true));
        let flags = ["--listen", "127.0.0.1:0"].iter().chain(flags);
        let mut args = ServerArgs::from_arg_matches(&command.get_matches_from(flags)).unwrap();
        args.rules = file.map(Path::to_owned);
        let listener = args.bind().await?;
        let address = listener.address().unwrap();
        let (ready, readiness) = watch::channel(Readiness::Ready);
        let routes = Routes::new(StageServiceServer::new(Endless));
        let server = Server::new("door", "a.Door", routes, readiness);
        let shutdown = Shutdown::new();
        let serving = tokio::spawn({
            let shutdown = shutdown.clone();
            async move { server.serve(listener, Limits::from(&args), &shutdown).await }
        });
        Ok(Self { address, ready, shutdown, serving })
    }

    pub(crate) fn http(&self) -> Address {
        format!("http://{}", self.address).parse().unwrap()
    }

    pub(crate) fn https(&self) -> Address {
        format!("https://{}", self.address).parse().unwrap()
    }

    /// A connection that says nothing.
    pub(crate) fn silent(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Changes what health says, which whoever watches is told.
    pub(crate) fn set_loading(&self) {
        self.ready.send_replace(Readiness::Loading);
    }

    pub(crate) async fn close(self) {
        self.shutdown.begin();
        self.serving.await.unwrap().unwrap();
    }
}

/// A way to a server whose certificate is from the authority in `ca`.
pub(crate) fn dialer(ca: &Path, identity: Option<&Pair>) -> Dialer {
    let identity = identity.map(|pair| (pair.cert.clone(), pair.key.clone()));
    let settings = DialerSettings { ca: Some(ca.to_owned()), identity, token: None };
    Dialer::new(settings, true).unwrap()
}

/// Asks health whether the server serves.
pub(crate) async fn check(link: &Link) -> Result<(), Status> {
    let request = HealthCheckRequest { service: String::new() };
    HealthClient::new(link.clone()).check(request).await.map(drop)
}

/// Work that goes on.
pub(crate) async fn work(link: &Link) -> Streaming<WatchStatusResponse> {
    let mut client = StageServiceClient::new(link.clone());
    let mut stream = client.watch_status(WatchStatusRequest {}).await.unwrap().into_inner();
    stream.message().await.unwrap().unwrap();
    stream
}

/// A question that goes on being answered.
pub(crate) async fn watch(link: &Link) -> Streaming<HealthCheckResponse> {
    let request = HealthCheckRequest { service: String::new() };
    let mut stream = HealthClient::new(link.clone()).watch(request).await.unwrap().into_inner();
    stream.message().await.unwrap().unwrap();
    stream
}

/// Why a call came to nothing, down to its first cause.
pub(crate) fn cause(status: &Status) -> String {
    let mut cause: &dyn std::error::Error = status;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// Waits until the server has closed a connection; other tasks run meanwhile.
pub(crate) async fn closed(mut stream: TcpStream) {
    let read = tokio::task::spawn_blocking(move || {
        let mut bytes = Vec::new();
        // Cut or closed in order: it is gone either way.
        let _ = stream.read_to_end(&mut bytes);
        stream.peek(&mut [0]).map_or(true, |left| left == 0)
    });
    assert!(tokio::time::timeout(PATIENCE, read).await.unwrap().unwrap());
}

/// Asks until the answer is true.
pub(crate) async fn eventually(what: &str, mut question: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !question().await {
        assert!(start.elapsed() < PATIENCE, "never came true: {what}");
        tokio::task::yield_now().await;
    }
}
