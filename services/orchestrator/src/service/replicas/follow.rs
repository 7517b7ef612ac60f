use std::sync::{Arc, Weak};
use std::time::Duration;

use cogwheel_api::stage::v1::stage_service_client::StageServiceClient;
use cogwheel_api::stage::v1::{WatchStatusRequest, WatchStatusResponse};
use cogwheel_service::Link;
use tonic::{Code, Status, Streaming};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::replica::{Health, Replica};

/// How long one that is down is left alone.
const FIRST: Duration = Duration::from_millis(250);
const MOST: Duration = Duration::from_secs(5);
/// How long an answer to the question for its health may take.
const ANSWER: Duration = Duration::from_secs(10);

/// Keeps what is known of a replica up to date, until nobody has it.
pub(super) async fn follow(replica: Weak<Replica>) {
    let mut pause = FIRST;
    loop {
        let Some(channel) = replica.upgrade().map(|replica| replica.channel()) else { return };
        let ended = watch(&replica, channel).await;
        let Some(replica) = replica.upgrade() else { return };
        pause = match &ended {
            Ended::Lost => replica.pause(FIRST, MOST),
            Ended::NoLongerServing => FIRST,
            Ended::Unreachable(_) => (pause * 2).min(MOST),
        };
        match ended {
            Ended::Unreachable(status) => replica.miss(status),
            Ended::Lost | Ended::NoLongerServing => replica.set_health(Health::Down, None),
        }
        let wanted = Arc::clone(&replica.wanted);
        drop(replica);
        // Whoever wants it does not wait for the end of the pause.
        let _ = tokio::time::timeout(pause, wanted.notified()).await;
    }
}

/// Why there is nothing more to watch.
enum Ended {
    /// A call was lost.
    Lost,
    /// It served, and does no more: it is about to end.
    NoLongerServing,
    Unreachable(Status),
}

async fn watch(replica: &Weak<Replica>, channel: Link) -> Ended {
    let opened = tokio::time::timeout(ANSWER, open(channel));
    let (mut health, mut status) = match opened.await {
        Ok(Ok(opened)) => opened,
        Ok(Err(status)) => return Ended::Unreachable(status),
        Err(_) => return Ended::Unreachable(Status::unavailable("no answer for 10 s")),
    };
    let Some(lost) = replica.upgrade().map(|replica| Arc::clone(&replica.lost)) else {
        return Ended::NoLongerServing;
    };
    let mut has_served = false;
    loop {
        // Not held while it waits, so that a replica that nobody has is dropped.
        let held = || replica.upgrade();
        tokio::select! {
            biased;
            () = lost.notified() => return Ended::Lost,
            told = next(&mut status) => match (told, held()) {
                (Ok(told), Some(held)) if !told.draining => held.set_told(Some(told)),
                // Without it the replica is used all the same; whether it is lost the health tells.
                (Err(()), Some(held)) => {
                    status = None;
                    held.set_told(None);
                }
                _ => return Ended::NoLongerServing,
            },
            change = health.message() => match (change, held()) {
                (Ok(Some(change)), Some(held)) => {
                    let serves = change.status() == ServingStatus::Serving;
                    if has_served && !serves {
                        return Ended::NoLongerServing;
                    }
                    has_served = serves;
                    held.set_health(if serves { Health::Serving } else { Health::Loading }, None);
                }
                (Ok(None), _) => {
                    return Ended::Unreachable(Status::unavailable("its health's watch ended"));
                }
                (Err(status), _) => return Ended::Unreachable(status),
                (_, None) => return Ended::NoLongerServing,
            },
        }
    }
}

type Told = Option<Streaming<WatchStatusResponse>>;

/// Asks for health and status; a stage of another make may have no status.
async fn open(
    channel: Link,
) -> Result<(Streaming<tonic_health::pb::HealthCheckResponse>, Told), Status> {
    let request = HealthCheckRequest { service: String::new() };
    let health = HealthClient::new(channel.clone()).watch(request).await?.into_inner();
    let status = StageServiceClient::new(channel).watch_status(WatchStatusRequest {}).await;
    match status {
        Ok(status) => Ok((health, Some(status.into_inner()))),
        Err(status) if matches!(status.code(), Code::Unimplemented | Code::ResourceExhausted) => {
            Ok((health, None))
        }
        Err(status) => Err(status),
    }
}

/// What is told next, which is nothing where there is nobody to tell it.
async fn next(status: &mut Told) -> Result<WatchStatusResponse, ()> {
    let Some(status) = status else { return std::future::pending().await };
    match status.message().await {
        Ok(Some(told)) => Ok(told),
        _ => Err(()),
    }
}
