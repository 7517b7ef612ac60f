use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use futures_util::Stream;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Response, Status};
use tracing::Instrument as _;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::Failure;
use crate::call::{Call, Held, cut, passed};
use crate::stall::STALL;

/// Messages of one response that wait to be read. Small, because a message may hold a megabyte.
const BUFFERED: usize = 4;

/// The stream of one response. The call's place is held until its work is done and it is read, dropped, or has not been read
/// of for too long.
#[derive(Debug)]
pub struct Responses<T> {
    messages: mpsc::Receiver<Result<T, Status>>,
    reading: Arc<Reading>,
    _gone: DropGuard,
}

/// How far a response has been read, and what its call holds.
#[derive(Debug)]
struct Reading {
    messages: AtomicUsize,
    held: Mutex<Option<Held>>,
}

impl<T> Stream for Responses<T> {
    type Item = Result<T, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.reading.messages.fetch_add(1, Ordering::Relaxed);
        self.messages.poll_recv(cx)
    }
}

impl Reading {
    /// Waits until the reader is gone. One that stands still gives up its place, though a connection that answers pings
    /// may keep it for ever.
    async fn end(&self, gone: CancellationToken) {
        let read = || self.messages.load(Ordering::Relaxed);
        let mut before = read();
        while tokio::time::timeout(STALL, gone.cancelled()).await.is_err() {
            if read() == before {
                break;
            }
            before = read();
        }
        drop(self.held.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// Where the work behind a response puts its messages.
#[derive(Debug)]
pub struct Responder<T>(mpsc::Sender<Result<T, Status>>);

impl<T> Responder<T> {
    /// Sends the next message, waiting for the reader where it is slow.
    ///
    /// # Errors
    /// [`Failure::Cancelled`] when the reader went away, [`Failure::Stalled`] when it reads nothing.
    pub async fn send(&self, message: impl Into<T>) -> Result<(), Failure> {
        match tokio::time::timeout(STALL, self.0.send(Ok(message.into()))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Failure::Cancelled),
            Err(_) => Err(Failure::Stalled(STALL)),
        }
    }
}

impl Call {
    /// Answers with a stream that `work` fills.
    ///
    /// The work is dropped, and with it everything it waits for, when the reader goes away, when
    /// the deadline passes, or when a drain's grace time ends.
    pub fn respond<T, W, F>(self, work: W) -> Response<Responses<T>>
    where
        T: Send + 'static,
        W: FnOnce(Responder<T>) -> F,
        F: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        let (sender, messages) = mpsc::channel(BUFFERED);
        let work = work(Responder(sender.clone()));
        let Self { service, deadline, shutdown, held } = self;
        let ended = shutdown.cut();
        let reading =
            Arc::new(Reading { messages: AtomicUsize::new(0), held: Mutex::new(Some(held)) });
        let (gone, read) = (CancellationToken::new(), Arc::clone(&reading));
        let is_gone = gone.clone();
        let supervised = async move {
            let result = tokio::select! {
                biased;
                () = sender.closed() => Err(Failure::Cancelled),
                () = ended => Err(Failure::Draining),
                () = passed(deadline) => Err(Failure::Deadline),
                result = work => result,
            };
            match result {
                Ok(()) => {}
                Err(Failure::Cancelled) => tracing::info!("the caller left"),
                Err(failure) => {
                    tracing::warn!(%failure, "request failed");
                    cut(service, &failure);
                    let status = Status::from(failure);
                    // Its message is the caller's alone.
                    let code = status.code().description();
                    tracing::Span::current().set_status(opentelemetry::trace::Status::error(code));
                    // A reader that does not read is not waited for to read that it does not.
                    let _ = tokio::time::timeout(STALL, sender.send(Err(status))).await;
                }
            }
            // The stream ends with it.
            drop(sender);
            read.end(is_gone).await;
        };
        tokio::spawn(supervised.in_current_span());
        Response::new(Responses { messages, reading, _gone: gone.drop_guard() })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::StreamExt as _;
    use tokio::sync::oneshot;
    use tonic::Code;

    use super::*;
    use crate::{Gate, Shutdown};

    fn call(shutdown: &Shutdown, timeout: Option<&str>) -> Call {
        let mut headers = tonic::metadata::MetadataMap::new();
        if let Some(timeout) = timeout {
            headers.insert("grpc-timeout", timeout.parse().unwrap());
        }
        Gate::new("the test", 1, shutdown).admit(&headers).unwrap()
    }

    /// Work that never ends and tells when it is dropped.
    fn endless(dropped: oneshot::Sender<()>) -> impl Future<Output = Result<(), Failure>> {
        struct Tell(Option<oneshot::Sender<()>>);
        impl Drop for Tell {
            fn drop(&mut self) {
                let _ = self.0.take().map(|tell| tell.send(()));
            }
        }
        let tell = Tell(Some(dropped));
        async move {
            let _tell = tell;
            std::future::pending().await
        }
    }

    #[tokio::test]
    async fn work_is_dropped_when_its_reader_leaves() {
        let (dropped, wait) = oneshot::channel();
        let response = call(&Shutdown::new(), None).respond::<u8, _, _>(|_| endless(dropped));
        drop(response);
        wait.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_has_a_deadline_of_its_own() {
        let (dropped, wait) = oneshot::channel();
        let response = call(&Shutdown::new(), Some("3S")).respond::<u8, _, _>(|_| endless(dropped));
        let status = response.into_inner().next().await.unwrap().unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded);
        wait.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_reads_nothing_does_not_hold_the_work_nor_its_place() {
        let shutdown = Shutdown::new();
        let (ended, wait) = oneshot::channel();
        let gate = Gate::new("the test", 1, &shutdown);
        let call = gate.admit(&tonic::metadata::MetadataMap::new()).unwrap();
        let response = call.respond::<u8, _, _>(|responder| async move {
            loop {
                if let Err(failure) = responder.send(1).await {
                    let _ = ended.send(failure.to_string());
                    return Err(failure);
                }
            }
        });
        assert!(wait.await.unwrap().contains("stood still"));
        assert_eq!(gate.admitted(), 1);
        gate.watch().wait_for(|&admitted| admitted == 0).await.unwrap();
        // Nor does a drain wait for it.
        assert_eq!(shutdown.drain(Duration::from_secs(1)).await, 0);
        drop(response);
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_reads_slowly_has_its_place_to_the_end() {
        let gate = Gate::new("the test", 1, &Shutdown::new());
        let call = gate.admit(&tonic::metadata::MetadataMap::new()).unwrap();
        let response = call.respond::<u8, _, _>(|responder| async move {
            for _ in 0..BUFFERED {
                responder.send(1).await?;
            }
            Ok(())
        });
        let mut messages = response.into_inner();
        for _ in 0..BUFFERED {
            tokio::time::sleep(STALL - Duration::from_secs(1)).await;
            assert_eq!((gate.admitted(), messages.next().await.unwrap().unwrap()), (1, 1));
        }
        assert!(messages.next().await.is_none());
        drop(messages);
        gate.watch().wait_for(|&admitted| admitted == 0).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_cuts_what_outlasts_it_with_unavailable() {
        let shutdown = Shutdown::new();
        let (dropped, _wait) = oneshot::channel();
        let mut response =
            call(&shutdown, None).respond::<u8, _, _>(|_| endless(dropped)).into_inner();
        let drain = tokio::spawn(async move { shutdown.drain(Duration::from_secs(1)).await });
        let status = response.next().await.unwrap().unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
        drop(response);
        assert_eq!(drain.await.unwrap(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_waits_until_a_finished_response_has_been_read() {
        let shutdown = Shutdown::new();
        let response = call(&shutdown, None);
        let mut response =
            response.respond::<u8, _, _>(|responder| async move { responder.send(1).await });
        let draining = shutdown.clone();
        let drain = tokio::spawn(async move { draining.drain(Duration::from_secs(30)).await });
        shutdown.draining().await;
        tokio::time::advance(Duration::from_secs(20)).await;
        assert!(!drain.is_finished());
        assert_eq!(response.get_mut().next().await.unwrap().unwrap(), 1);
        drop(response);
        assert_eq!(drain.await.unwrap(), 0);
    }
}
