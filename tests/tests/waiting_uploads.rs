//! Adapters that wait for a denoiser to take them fill its connection with bytes that nobody reads yet: the others go on.
#![allow(clippy::unwrap_used, reason = "a test may fail")]
#![cfg(unix)]

use std::time::Duration;

use cogwheel_api::denoiser::v1::denoiser_service_client::DenoiserServiceClient;
use cogwheel_api::denoiser::v1::put_adapter_request::Part;
use cogwheel_api::denoiser::v1::{PutAdapterHeader, PutAdapterRequest};
use cogwheel_tests::{Stages, data};
use futures_util::future::join_all;
use tonic::Code;
use tonic::transport::Channel;

/// More than are taken at once.
const COUNT: u64 = 12;
const MEGABYTES: usize = 8;
/// Less than the minute after which a caller that stands still is given up.
const PATIENCE: Duration = Duration::from_secs(40);

/// Sends bytes that are no adapter; they are all read before that is said.
async fn put(mut client: DenoiserServiceClient<Channel>, number: u64) -> Code {
    let header = PutAdapterHeader {
        digest: format!("{number:064x}"),
        weights_byte_length: (MEGABYTES << 20) as u64,
        ..PutAdapterHeader::default()
    };
    let chunks = (0..MEGABYTES).map(|_| Part::Chunk(vec![0; 1 << 20].into()));
    let parts: Vec<_> = [Part::Header(header)].into_iter().chain(chunks).collect();
    let requests = parts.into_iter().map(|part| PutAdapterRequest { part: Some(part) });
    client.put_adapter(tokio_stream::iter(requests)).await.unwrap_err().code()
}

#[tokio::test(flavor = "multi_thread")]
async fn adapters_that_wait_for_their_turn_keep_no_other_from_its_own() {
    let denoiser = Stages::stage("cogwheel-denoiser", &data("checkpoints/sincos"), &[]);
    let client = DenoiserServiceClient::new(denoiser.channel());
    let puts = join_all((0..COUNT).map(|number| put(client.clone(), number)));
    let codes = tokio::time::timeout(PATIENCE, puts).await.unwrap();
    assert!(codes.iter().all(|code| *code == Code::InvalidArgument), "{codes:?}");
}
