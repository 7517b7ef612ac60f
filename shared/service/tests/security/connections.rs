use std::error::Error as _;
use std::io::ErrorKind;
use std::net::TcpStream;

use cogwheel_service::{Dialer, Link};
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;

use super::certificates::{Authority, Validity};
use super::door::{Door, check, closed, eventually, watch, work};

fn link(door: &Door) -> Link {
    Dialer::default().connect(&door.http())
}

/// Whether the server has not closed it.
fn is_open(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    matches!(stream.peek(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_idle_connections_keep_nobody_out_and_are_not_kept() {
    let door = Door::open(&["--max-connections", "32"]).await;
    let busy = link(&door);
    let working = work(&busy).await;
    let idle: Vec<_> = (0..2000).map(|_| door.silent()).collect();
    // Who comes last is served, and who was there before has not been cut.
    check(&link(&door)).await.unwrap();
    check(&busy).await.unwrap();
    drop(working);
    let open = || idle.iter().filter(|stream| is_open(stream)).count();
    eventually("no more are kept than may be", async || open() <= 32).await;
    door.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_every_connection_has_a_call_one_more_is_closed_at_once() {
    let door = Door::open(&["--max-connections", "2"]).await;
    let links = [link(&door), link(&door)];
    let working = [work(&links[0]).await, work(&links[1]).await];
    closed(door.silent()).await;
    let status = check(&link(&door)).await.unwrap_err();
    // The code depends on how far the client came; what counts is that no server has said it.
    assert!(
        status.source().is_some_and(|source| source.is::<tonic::transport::Error>()),
        "{status:?}"
    );
    for link in &links {
        check(link).await.unwrap();
    }
    drop(working);
    eventually("a place is free again", async || check(&link(&door)).await.is_ok()).await;
    door.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_that_everybody_may_ask_keep_nobody_out() {
    let door = Door::open(&["--max-connections", "2"]).await;
    let links = [link(&door), link(&door)];
    let _watching = [watch(&links[0]).await, watch(&links[1]).await];
    let other = link(&door);
    let _working = work(&other).await;
    check(&other).await.unwrap();
    door.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_that_stay_open_are_bounded() {
    let door = Door::open(&[]).await;
    let links: Vec<_> = (0..20).map(|_| link(&door)).collect();
    let mut open = Vec::new();
    for link in &links {
        for _ in 0..120 {
            match HealthClient::new(link.clone()).watch(HealthCheckRequest::default()).await {
                Ok(stream) => open.push(stream),
                Err(status) => assert_eq!(status.code(), Code::ResourceExhausted, "{status}"),
            }
        }
    }
    assert_eq!(open.len(), 2048);
    // Work is no question.
    let _working = work(&links[0]).await;
    drop(open);
    eventually("one may ask again", async || check(&links[0]).await.is_ok()).await;
    door.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_everybody_may_ask_is_short() {
    let door = Door::open(&[]).await;
    let service = "x".repeat(8 << 10);
    let mut client = HealthClient::new(link(&door));
    let status = client.check(HealthCheckRequest { service }).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange, "{status}");
    door.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_without_a_call_is_closed_in_the_end_and_one_with_a_call_is_not() {
    let door = Door::open(&["--connection-idle-seconds", "1"]).await;
    let busy = link(&door);
    let mut watching = watch(&busy).await;
    closed(door.silent()).await;
    door.set_loading();
    watching.message().await.unwrap().unwrap();
    drop(watching);
    // Its client opens another when it has a call again.
    check(&busy).await.unwrap();
    door.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_is_not_made_ends_the_connection() {
    let folder = tempfile::tempdir().unwrap();
    let pair = Authority::new().issue(folder.path(), "server", &["127.0.0.1"], Validity::Good);
    let (cert, key) = (pair.cert.to_str().unwrap(), pair.key.to_str().unwrap());
    let flags = ["--tls-cert", cert, "--tls-key", key, "--handshake-seconds", "1"];
    let door = Door::open(&flags).await;
    closed(door.silent()).await;
    door.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reflection_can_be_turned_off() {
    for (flag, expected) in [("on", Code::Ok), ("off", Code::Unimplemented)] {
        let door = Door::open(&["--reflection", flag]).await;
        let mut client = ServerReflectionClient::new(link(&door));
        let request = ServerReflectionRequest { host: String::new(), message_request: None };
        let answer = client.server_reflection_info(tokio_stream::iter([request])).await;
        let code = answer.map_or_else(|status| status.code(), |_| Code::Ok);
        assert_eq!(code, expected, "{flag}");
        check(&link(&door)).await.unwrap();
        door.close().await;
    }
}
