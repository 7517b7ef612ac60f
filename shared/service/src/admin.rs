mod connections;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::thread;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::get;
use tokio_util::sync::CancellationToken;

use crate::Health;
use crate::metrics;

/// The port for those who look after a process: `/live` and `/ready` over HTTP/1.1, Prometheus'
/// `/metrics`, and gRPC's standard health, all without TLS and tokens, which a kubelet's probes cannot have. It has a
/// thread and a runtime of its own, so that it answers whatever else the process does, until the end.
#[derive(Debug)]
pub struct Admin {
    address: SocketAddr,
    stop: CancellationToken,
}

impl Admin {
    /// Answers on `address`, port 0 for a free one, until this is dropped.
    ///
    /// # Errors
    /// With the address in the message, e.g. when the port is in use.
    pub fn start(address: SocketAddr, health: Health) -> io::Result<Self> {
        let told = |error: io::Error| {
            io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"))
        };
        let listener = TcpListener::bind(address).map_err(told)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        thread::Builder::new().name("admin".to_owned()).spawn(move || {
            runtime.block_on(async {
                health.begin().await;
                tokio::select! {
                    () = stopped => {}
                    ended = connections::serve(listener, router(health)) => if let Err(error) = ended {
                        tracing::error!(service = "admin", %error, "the admin port is gone");
                    }
                }
            });
        })?;
        tracing::info!(service = "admin", %address, "the admin port is open");
        Ok(Self { address, stop })
    }

    /// The address that was really bound.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn router(health: Health) -> Router {
    let grpc = health.router();
    let ready = async move || match health.unready() {
        None => (StatusCode::OK, "ready\n".to_owned()),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    };
    let metrics = async || ([(header::CONTENT_TYPE, metrics::MEDIA_TYPE)], metrics::text());
    grpc.route("/live", get(async || "live\n"))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
}
