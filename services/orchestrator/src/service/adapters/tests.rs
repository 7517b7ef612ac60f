use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cogwheel_api::adapter::v1::adapter_service_client::AdapterServiceClient;
use cogwheel_api::adapter::v1::adapter_service_server::AdapterServiceServer;
use cogwheel_engine::Readiness;
use cogwheel_models::checkpoint::Checkpoint;
use cogwheel_service::{Address, Limits, Server, connect, memory_listener};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::Code;
use tonic::service::Routes;

use super::*;
use crate::settings::AdapterArgs;

/// The registry of the demo's model, served in memory.
fn serve() -> Address {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demo/model");
    let checkpoint = Checkpoint::open(&demo).unwrap();
    let registry = Registry::open(&AdapterArgs::default(), &[], &checkpoint).unwrap();
    let shutdown = Shutdown::new();
    let service = Service::new(Arc::new(registry), Arc::new(Pinning::none()), &shutdown);
    let routes = Routes::new(AdapterServiceServer::new(service));
    let readiness = watch::Sender::new(Readiness::Ready).subscribe();
    let (connector, listener) = memory_listener();
    let limits = Limits { max_streams: 16, grace: Duration::from_secs(1), ..Limits::DEFAULT };
    tokio::spawn(async move {
        let name = "cogwheel.adapter.v1.AdapterService";
        Server::new("adapters", name, routes, readiness).serve(listener, limits, &shutdown).await
    });
    Address::Memory(connector)
}

async fn refusal(
    address: &Address,
    parts: impl Stream<Item = Part> + Send + 'static,
) -> (Code, String) {
    let requests = parts.map(|part| CreateAdapterRequest { part: Some(part) });
    let mut client = AdapterServiceClient::new(connect(address));
    let status = client.create_adapter(requests).await.unwrap_err();
    (status.code(), status.message().to_owned())
}

fn header(name: &str) -> Part {
    let name = name.to_owned();
    Part::Header(CreateAdapterHeader { name, weights_byte_length: 64 << 20, ..Default::default() })
}

fn chunk(bytes: usize) -> Part {
    Part::Chunk(vec![7; bytes].into())
}

/// A refusal in the middle of an upload was followed by a reset of the stream, and lost on clients that saw that first.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_taken_to_its_end_before_the_answer() {
    let address = serve();
    for _ in 0..20 {
        for (parts, expected) in [
            ([header("a"), chunk(0)], "chunk: expected bytes, found none"),
            ([header("a"), header("a")], "header: expected one header, found two"),
            ([header("a/b"), chunk(1)], "name: expected 1 to 64 letters"),
            ([chunk(1), chunk(1)], "header: expected the header first"),
        ] {
            // More than is sent to somebody who takes nothing.
            let parts = parts.into_iter().chain((0..16).map(|_| chunk(1 << 20)));
            let sent = Arc::new(AtomicUsize::new(0));
            let counted = Arc::clone(&sent);
            let parts = parts.inspect(move |_| _ = counted.fetch_add(1, Ordering::Relaxed));
            let (code, message) = refusal(&address, tokio_stream::iter(parts)).await;
            assert_eq!(code, Code::InvalidArgument, "{message}");
            assert!(message.starts_with(expected), "{message}");
            assert_eq!(sent.load(Ordering::Relaxed), 18, "{message}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_waits_for_the_answer_before_it_ends_gets_it() {
    let address = serve();
    let (sender, parts) = mpsc::channel(2);
    for part in [header("a"), chunk(0)] {
        sender.send(part).await.unwrap();
    }
    let (code, message) = refusal(&address, ReceiverStream::new(parts)).await;
    assert_eq!(
        (code, message.as_str()),
        (Code::InvalidArgument, "chunk: expected bytes, found none")
    );
    drop(sender);
}
