//! One thread, one model, jobs in order.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
    mpsc,
};

use cogwheel_engine::{JobError, LoadPolicy, Readiness, SubmitError, Worker, WorkerOptions};
use tokio::sync::oneshot;

fn options(queue_depth: usize, policy: LoadPolicy) -> WorkerOptions {
    WorkerOptions { name: "model".to_owned(), queue_depth, policy }
}

/// A worker whose model is the list of what was done to it.
fn worker(queue_depth: usize) -> Worker<Vec<u32>> {
    Worker::spawn(options(queue_depth, LoadPolicy::Keep), || Ok::<_, String>(Vec::new())).unwrap()
}

/// A job that says when it runs, and ends when told to.
fn gate() -> (oneshot::Receiver<()>, mpsc::Sender<()>, impl FnOnce() + Send + 'static) {
    let (entered, running) = oneshot::channel();
    let (release, released) = mpsc::channel();
    let job = move || {
        let _ = entered.send(());
        let _ = released.recv();
    };
    (running, release, job)
}

#[tokio::test]
async fn jobs_run_in_the_order_in_which_they_came() {
    let worker = worker(8);
    let tickets: Vec<_> =
        (0..5).map(|n| worker.submit(move |log: &mut Vec<u32>, _| log.push(n)).unwrap()).collect();
    for ticket in tickets {
        ticket.await.unwrap();
    }
    let log = worker.submit(|log, _| log.clone()).unwrap().await.unwrap();
    assert_eq!(log, [0, 1, 2, 3, 4]);
}

#[tokio::test]
async fn a_queue_of_any_depth_takes_jobs() {
    worker(usize::MAX).submit(|_, _| ()).unwrap().await.unwrap();
}

#[tokio::test]
async fn a_full_queue_refuses_and_the_positions_count_down() {
    let worker = worker(2);
    let (running, release, job) = gate();
    let first = worker.submit(move |_, _| job()).unwrap();
    running.await.unwrap();
    let second = worker.submit(|_, _| ()).unwrap();
    let third = worker.submit(|_, _| ()).unwrap();
    let error = worker.submit(|_, _| ()).unwrap_err();
    assert_eq!(error, SubmitError::QueueFull { depth: 2 });
    let mut ahead = third.ahead();
    assert_eq!((*first.ahead().borrow(), *second.ahead().borrow()), (0, 1));
    assert_eq!(*ahead.borrow_and_update(), 2);

    drop(second);
    ahead.changed().await.unwrap();
    assert_eq!(*ahead.borrow_and_update(), 1, "a job that left makes room");
    release.send(()).unwrap();
    first.await.unwrap();
    third.await.unwrap();
    assert!(worker.submit(|_, _| ()).is_ok());
}

#[tokio::test]
async fn a_worker_at_rest_takes_a_job_even_if_none_may_wait() {
    let worker = worker(0);
    let (running, release, job) = gate();
    let first = worker.submit(move |_, _| job()).unwrap();
    running.await.unwrap();
    assert_eq!(worker.submit(|_, _| ()).unwrap_err(), SubmitError::QueueFull { depth: 0 });
    release.send(()).unwrap();
    first.await.unwrap();
}

#[tokio::test]
async fn a_dropped_ticket_skips_a_job_that_waits() {
    let worker = worker(8);
    let (running, release, job) = gate();
    let first = worker.submit(move |_, _| job()).unwrap();
    running.await.unwrap();
    drop(worker.submit(|log, _| log.push(1)).unwrap());
    assert_eq!(worker.waiting(), 0);
    release.send(()).unwrap();
    first.await.unwrap();
    let log = worker.submit(|log, _| log.clone()).unwrap().await.unwrap();
    assert!(log.is_empty());
}

#[tokio::test]
async fn a_dropped_ticket_fires_the_token_of_a_job_that_runs() {
    let worker = worker(8);
    let (entered, running) = oneshot::channel();
    let (ended, end) = oneshot::channel();
    let ticket = worker
        .submit(move |_, context| {
            entered.send(()).unwrap();
            // Blocks until the token fires: the test hangs if it never does.
            let waiting = tokio::runtime::Builder::new_current_thread().build().unwrap();
            waiting.block_on(context.cancellation.cancelled());
            ended.send(()).unwrap();
        })
        .unwrap();
    running.await.unwrap();
    drop(ticket);
    end.await.unwrap();
}

#[tokio::test]
async fn a_panic_is_the_jobs_error_and_the_worker_lives_on() {
    let worker = worker(8);
    let error = worker.submit(|_, _| panic!("no {}", "luck")).unwrap().await.unwrap_err();
    assert_eq!(error, JobError::Panicked("no luck".to_owned()));
    worker.submit(|log, _| log.push(1)).unwrap().await.unwrap();
}

#[tokio::test]
async fn readiness_follows_the_load() {
    let (release, released) = mpsc::channel::<Result<(), String>>();
    let worker = Worker::spawn(options(1, LoadPolicy::Keep), move || released.recv().unwrap());
    let worker = worker.unwrap();
    let mut ready = worker.ready();
    assert_eq!(*ready.borrow_and_update(), Readiness::Loading);
    let ticket = worker.submit(|(), _| ()).unwrap();
    release.send(Ok(())).unwrap();
    ready.changed().await.unwrap();
    assert_eq!(*ready.borrow(), Readiness::Ready);
    ticket.await.unwrap();
}

#[tokio::test]
async fn a_model_that_does_not_load_fails_the_jobs_with_the_reason() {
    for load in [|| Err("no such file"), || panic!("no such file")] as [fn() -> Result<(), _>; 2] {
        let worker = Worker::spawn(options(1, LoadPolicy::Keep), load).unwrap();
        let mut ready = worker.ready();
        ready.wait_for(|ready| *ready != Readiness::Loading).await.unwrap();
        assert_eq!(*ready.borrow(), Readiness::Failed("no such file".to_owned()));
        let error = worker.submit(|(), _| ()).unwrap().await.unwrap_err();
        assert_eq!(error, JobError::Load("no such file".to_owned()));
    }
}

#[tokio::test]
async fn a_model_that_is_released_after_use_is_dropped_when_none_wait_and_loaded_again() {
    struct Model(mpsc::Sender<&'static str>);
    impl Drop for Model {
        fn drop(&mut self) {
            let _ = self.0.send("dropped");
        }
    }
    let (events, log) = mpsc::channel();
    let load = move || {
        events.send("loaded").unwrap();
        Ok::<_, String>(Model(events.clone()))
    };
    let worker = Worker::spawn(options(4, LoadPolicy::ReleaseAfterUse), load).unwrap();
    assert_eq!(*worker.ready().borrow(), Readiness::Ready);

    let (running, release, job) = gate();
    let first = worker.submit(move |_, _| job()).unwrap();
    running.await.unwrap();
    let second = worker.submit(|_, _| ()).unwrap();
    release.send(()).unwrap();
    first.await.unwrap();
    second.await.unwrap();
    assert_eq!([log.recv().unwrap(), log.recv().unwrap()], ["loaded", "dropped"]);
    worker.submit(|_, _| ()).unwrap().await.unwrap();
    assert_eq!([log.recv().unwrap(), log.recv().unwrap()], ["loaded", "dropped"]);
}

/// A model that counts how often it is held, and may not like to be dropped.
struct Held(Arc<AtomicUsize>, bool);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
        assert!(!self.1, "a drop that panics");
    }
}

fn held(policy: LoadPolicy, panics: bool) -> (Worker<Held>, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let load = move || {
        counted.fetch_add(1, Ordering::SeqCst);
        Ok::<_, String>(Held(Arc::clone(&counted), panics))
    };
    (Worker::spawn(options(4, policy), load).unwrap(), count)
}

#[tokio::test]
async fn a_model_that_is_released_after_use_is_gone_when_the_answer_comes() {
    let (worker, count) = held(LoadPolicy::ReleaseAfterUse, false);
    for _ in 0..100 {
        let inside = worker.submit(|model, _| model.0.load(Ordering::SeqCst)).unwrap();
        assert_eq!(inside.await.unwrap(), 1);
        assert_eq!(count.load(Ordering::SeqCst), 0);
    }
}

#[tokio::test]
async fn a_failed_load_of_a_model_to_be_released_fails_its_job_alone() {
    let mut loads = [Err("memory is short"), Ok(())].into_iter();
    let load = move || loads.next().unwrap();
    let worker = Worker::spawn(options(1, LoadPolicy::ReleaseAfterUse), load).unwrap();
    let error = worker.submit(|(), _| ()).unwrap().await.unwrap_err();
    assert_eq!(error, JobError::Load("memory is short".to_owned()));
    assert_eq!(*worker.ready().borrow(), Readiness::Ready);
    worker.submit(|(), _| ()).unwrap().await.unwrap();
}

#[tokio::test]
async fn a_model_whose_drop_panics_leaves_nobody_waiting() {
    let (worker, _) = held(LoadPolicy::ReleaseAfterUse, true);
    let error = worker.submit(|_, _| ()).unwrap().await.unwrap_err();
    assert_eq!(error, JobError::Stopped);
    let mut ready = worker.ready();
    ready.wait_for(|ready| matches!(ready, Readiness::Failed(_))).await.unwrap();
    // The queue closes with the thread, or has closed.
    match worker.submit(|_, _| ()) {
        Ok(ticket) => assert_eq!(ticket.await.unwrap_err(), JobError::Stopped),
        Err(error) => assert_eq!(error, SubmitError::Stopped),
    }
    worker.shutdown().await;
}

#[tokio::test]
async fn shutdown_finishes_what_runs_and_fails_what_waits() {
    let worker = worker(8);
    let (running, release, job) = gate();
    let first = worker.submit(move |_, _| job()).unwrap();
    running.await.unwrap();
    let second = worker.submit(|_, _| ()).unwrap();
    let shutdown = async {
        let stopping = worker.shutdown();
        tokio::pin!(stopping);
        // One poll closes the queue; the job that runs holds the rest up.
        tokio::select! {
            biased;
            () = &mut stopping => panic!("shutdown did not wait for the job that runs"),
            () = std::future::ready(()) => {}
        }
        assert_eq!(worker.submit(|_, _| ()).unwrap_err(), SubmitError::Stopped);
        release.send(()).unwrap();
        stopping.await;
    };
    shutdown.await;
    first.await.unwrap();
    assert_eq!(second.await.unwrap_err(), JobError::Stopped);
}
