use std::sync::atomic::{AtomicUsize, Ordering};

use cogwheel_api::textencoder::v1::text_encoder_service_server::{
    TextEncoderService, TextEncoderServiceServer,
};
use cogwheel_api::textencoder::v1::{EncodeRequest, EncodeResponse};
use cogwheel_engine::Readiness;
use cogwheel_service::{Address, Connector, Dialer, Limits, Server, Shutdown, memory_listener};
use tonic::service::Routes;
use tonic::{Code, Request, Response, Status};

use super::*;
use crate::service::Terms;

/// A stage that answers nothing and counts who asks.
#[derive(Clone, Default)]
struct Stub(Arc<AtomicUsize>);

#[tonic::async_trait]
impl TextEncoderService for Stub {
    type EncodeStream = tokio_stream::Empty<Result<EncodeResponse, Status>>;

    async fn encode(
        &self,
        _: Request<EncodeRequest>,
    ) -> Result<Response<Self::EncodeStream>, Status> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(Response::new(tokio_stream::empty()))
    }
}

/// A replica in this process.
struct Process {
    stub: Stub,
    connector: Connector,
    ready: watch::Sender<Readiness>,
    shutdown: Shutdown,
}

impl Process {
    fn start(readiness: Readiness) -> Self {
        let (connector, listener) = memory_listener();
        let (stub, shutdown) = (Stub::default(), Shutdown::new());
        let (ready, watched) = watch::channel(readiness);
        let routes = Routes::new(TextEncoderServiceServer::new(stub.clone()));
        let server = Server::new("stub", "stub", routes, watched);
        let ends = shutdown.clone();
        tokio::spawn(async move {
            let limits =
                Limits { max_streams: 16, grace: Duration::from_secs(1), ..Limits::DEFAULT };
            server.serve(listener, limits, &ends).await
        });
        Self { stub, connector, ready, shutdown }
    }

    fn calls(&self) -> usize {
        self.stub.0.load(Ordering::Relaxed)
    }
}

fn replicas(processes: &[&Process], patience: u64) -> Replicas {
    let address = |process: &&Process| Address::Memory(process.connector.clone());
    let nowhere = Address::Memory(memory_listener().0);
    let args = StagesArgs::of(nowhere.clone(), nowhere.clone(), nowhere);
    let args = StagesArgs { stage_patience_seconds: patience, ..args };
    let addresses: Vec<_> = processes.iter().map(address).map(StageAddress::One).collect();
    Replicas::at("stub", &addresses, &args, &Dialer::default())
}

async fn call(place: &Place) -> Result<(), Failure> {
    place.encode(vec!["x".to_owned()], [1, 1, 1], &Terms::of_nobody()).await.map(drop)
}

async fn all_serve(replicas: &Replicas, count: usize) {
    let mut changes = replicas.changes();
    while replicas.serving().count() < count {
        changes.changed().await.unwrap();
    }
}

#[tokio::test]
async fn calls_go_to_replicas_in_turn_and_to_the_one_with_fewer_of_them() {
    let (a, b) = (Process::start(Readiness::Ready), Process::start(Readiness::Ready));
    let replicas = replicas(&[&a, &b], 0);
    all_serve(&replicas, 2).await;
    for _ in 0..6 {
        call(&replicas.choose(None).await.unwrap()).await.unwrap();
    }
    assert_eq!((a.calls(), b.calls()), (3, 3));
    let held = replicas.choose(None).await.unwrap();
    for _ in 0..4 {
        let place = replicas.choose(None).await.unwrap();
        assert!(!Arc::ptr_eq(&place.replica, &held.replica));
    }
}

#[tokio::test]
async fn one_that_drains_gets_no_calls_and_its_calls_of_before_are_kept() {
    let (a, b) = (Process::start(Readiness::Ready), Process::start(Readiness::Ready));
    let replicas = replicas(&[&a, &b], 0);
    all_serve(&replicas, 2).await;
    a.shutdown.begin();
    let mut changes = replicas.changes();
    while replicas.serving().count() > 1 {
        changes.changed().await.unwrap();
    }
    for _ in 0..4 {
        call(&replicas.choose(None).await.unwrap()).await.unwrap();
    }
    assert_eq!((a.calls(), b.calls()), (0, 4));
}

#[tokio::test]
async fn one_that_loads_is_waited_for_however_long_and_takes_calls_meanwhile() {
    let a = Process::start(Readiness::Loading);
    let replicas = replicas(&[&a], 0);
    let place = replicas.choose(None).await.unwrap();
    assert_eq!(replicas.serving().count(), 0);
    call(&place).await.unwrap();
    a.ready.send_replace(Readiness::Ready);
    replicas.serves().await;
}

#[tokio::test(start_paused = true)]
async fn a_stage_that_cannot_be_reached_is_waited_for_with_patience_and_then_named() {
    let replicas = {
        let gone = Process { connector: memory_listener().0, ..Process::start(Readiness::Ready) };
        replicas(&[&gone, &gone], 7)
    };
    let start = Instant::now();
    let failure = replicas.choose(None).await.unwrap_err();
    let seconds = start.elapsed().as_secs();
    assert!((7..10).contains(&seconds), "{seconds}");
    assert_eq!(Status::from(failure.clone()).code(), Code::Unavailable);
    let expected = "stub: none of 2 replicas can be reached; stub: this process cannot be reached";
    assert!(failure.to_string().starts_with(expected), "{failure}");
    // Who comes later does not wait again.
    let start = Instant::now();
    replicas.choose(None).await.unwrap_err();
    assert_eq!(start.elapsed().as_secs(), 0);
}

#[tokio::test]
async fn one_that_loses_a_call_is_left_out_until_its_health_was_asked_again() {
    let (a, b) = (Process::start(Readiness::Ready), Process::start(Readiness::Ready));
    let replicas = replicas(&[&a, &b], 0);
    all_serve(&replicas, 2).await;
    let lost = replicas.choose(None).await.unwrap();
    let (ups, replica) = (lost.ups(), Arc::clone(&lost.replica));
    lost.lose(Status::unavailable("test"));
    assert_eq!(replicas.serving().count(), 1);
    let other = replicas.choose(None).await.unwrap();
    assert!(!Arc::ptr_eq(&other.replica, &replica));
    all_serve(&replicas, 2).await;
    assert_eq!(replica.ups(), ups + 1);
}

#[tokio::test]
async fn one_that_is_full_is_left_alone_for_a_moment_and_those_who_wait_keep_their_order() {
    let a = Process::start(Readiness::Ready);
    let replicas = replicas(&[&a], 0);
    all_serve(&replicas, 1).await;
    replicas.choose(None).await.unwrap().set_full();
    assert!(replicas.try_choose(None).is_none());
    let order = Mutex::new(Vec::new());
    let waiter = async |name| {
        let place = replicas.choose(None).await.unwrap();
        order.lock().unwrap().push(name);
        drop(place);
    };
    tokio::join!(biased; waiter("first"), waiter("second"), waiter("third"));
    assert_eq!(*order.lock().unwrap(), ["first", "second", "third"]);
}

#[tokio::test]
async fn a_replica_that_nobody_has_is_no_longer_followed() {
    let a = Process::start(Readiness::Ready);
    let replicas = replicas(&[&a], 0);
    all_serve(&replicas, 1).await;
    let replica = Arc::downgrade(&replicas.pool.list()[0]);
    drop(replicas);
    assert!(replica.upgrade().is_none());
}
