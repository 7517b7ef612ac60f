use std::collections::VecDeque;
use std::io;
use std::net::TcpListener;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;

/// Connections at once: a kubelet's, some that scrape or look. One more takes the place of the
/// oldest, so that whoever keeps connections open does not keep a probe out.
const MAX_CONNECTIONS: usize = 64;
/// Calls at once on one connection.
const MAX_STREAMS: u32 = 16;
/// Bytes of a request's head, and of what HTTP/1.1 reads at once.
const MAX_HEAD: usize = 16 << 10;
/// How long a request's head may take to come.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Before a socket is asked for again after the system gave none.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves HTTP/1.1 and HTTP/2 without TLS on one port; does not end by itself.
pub(super) async fn serve(listener: TcpListener, router: Router) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let mut open: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            // It went away again, or there are too many files: it will pass.
            Err(_) => {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        open.retain(|connection| !connection.is_finished());
        if open.len() >= MAX_CONNECTIONS
            && let Some(oldest) = open.pop_front()
        {
            oldest.abort();
        }
        open.push_back(tokio::spawn(connection(stream, router.clone())).abort_handle());
    }
}

async fn connection(stream: TcpStream, router: Router) {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD);
    builder.http2().max_concurrent_streams(MAX_STREAMS).max_header_list_size(MAX_HEAD as u32);
    let service = TowerToHyperService::new(router);
    // A peer that goes away or says nonsense is no matter of this process.
    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
}
