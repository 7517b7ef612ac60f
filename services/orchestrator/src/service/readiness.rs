use std::time::Duration;

use cogwheel_engine::Readiness;
use tokio::sync::watch;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::{Peer, Stages};

/// How long to wait before a stage that does not answer is asked again.
const AGAIN: Duration = Duration::from_millis(500);

impl Stages {
    /// Tells ready once every stage has said that it serves. It stays so: a stage that goes away
    /// later is a matter of the requests that need it, not of this process.
    pub(super) async fn watch(&self, readiness: watch::Sender<Readiness>) {
        let Self { text_encoder, denoiser, vae } = self;
        tokio::join!(text_encoder.serves(), denoiser.serves(), vae.serves());
        readiness.send_replace(Readiness::Ready);
    }
}

impl Peer {
    /// Waits until the stage serves.
    async fn serves(&self) {
        while self.watch_until_serving().await.is_none() {
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Watches the stage's health; `None` when the watch ends before it serves.
    async fn watch_until_serving(&self) -> Option<()> {
        let mut client = HealthClient::new(self.channel.clone());
        let request = HealthCheckRequest { service: String::new() };
        let mut changes = client.watch(request).await.ok()?.into_inner();
        while let Some(change) = changes.message().await.ok()? {
            if change.status() == ServingStatus::Serving {
                return Some(());
            }
        }
        None
    }
}
