use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

/// Serves as long as the process runs, whatever its load, its peers or a drain.
const LIVE: &str = "live";
/// The process as a whole.
const PROCESS: &str = "";

/// Bytes of a question, which everybody may ask: a name.
const MAX_BYTES: usize = 4 << 10;

/// What a port says of the health of the servers behind it: gRPC's standard health service, and a
/// plain word on why it is not ready.
#[derive(Clone)]
pub struct Health(Arc<Inner>);

struct Inner {
    reporter: HealthReporter,
    router: Router,
    parts: Mutex<BTreeMap<&'static str, Part>>,
    /// Reports go out one after the other, so that the last one said is the last one known.
    telling: tokio::sync::Mutex<()>,
}

/// One server of the process.
#[derive(Clone, Debug)]
struct Part {
    /// What it is asked for by name: its services, its model.
    names: Vec<String>,
    condition: Condition,
}

/// What keeps a server from taking work, if anything does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// Nothing does.
    Ready,
    /// What is to come first.
    Waiting(&'static str),
    /// It is about to end.
    Draining,
    /// It cannot work.
    Failed(String),
}

impl Default for Health {
    fn default() -> Self {
        let (reporter, service) = tonic_health::server::health_reporter();
        Self(Arc::new(Inner {
            reporter,
            // What is no call of it is for others to answer.
            router: Routes::new(service.max_decoding_message_size(MAX_BYTES))
                .prepare()
                .into_axum_router()
                .reset_fallback(),
            parts: Mutex::default(),
            telling: tokio::sync::Mutex::default(),
        }))
    }
}

impl Health {
    /// The gRPC service; what it says before [`Health::begin`] is not yet true.
    pub(crate) fn router(&self) -> Router {
        self.0.router.clone()
    }

    /// Says that the process lives and is not ready.
    pub(crate) async fn begin(&self) {
        self.0.reporter.set_service_status(LIVE, ServingStatus::Serving).await;
        self.tell().await;
    }

    /// Says what condition a server is in, and with it the process; `names` are what the server is
    /// asked for by.
    pub(crate) async fn set(&self, server: &'static str, names: &[String], condition: Condition) {
        self.parts().insert(server, Part { names: names.to_vec(), condition });
        self.tell().await;
    }

    /// Why the process is not ready, on one line; `None` when it is.
    pub(crate) fn unready(&self) -> Option<String> {
        let parts = self.parts();
        if parts.is_empty() {
            return Some("starting".to_owned());
        }
        parts.iter().find_map(|(server, part)| match &part.condition {
            Condition::Ready => None,
            Condition::Waiting(for_what) => Some(format!("{server}: waiting for {for_what}")),
            Condition::Draining => Some(format!("{server}: shutting down")),
            Condition::Failed(message) => Some(format!("{server}: {message}").replace('\n', " ")),
        })
    }

    /// A name is served when every server that has it is ready; all have the process's.
    async fn tell(&self) {
        let _in_turn = self.0.telling.lock().await;
        let mut ready = BTreeMap::from([(PROCESS.to_owned(), self.unready().is_none())]);
        for part in self.parts().values() {
            for name in &part.names {
                *ready.entry(name.clone()).or_insert(true) &= part.condition == Condition::Ready;
            }
        }
        for (name, ready) in ready {
            let status = if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
            self.0.reporter.set_service_status(name, status).await;
        }
    }

    fn parts(&self) -> MutexGuard<'_, BTreeMap<&'static str, Part>> {
        self.0.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Health").field(&*self.parts()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_process_is_ready_when_all_its_servers_are() {
        let health = Health::default();
        assert_eq!(health.unready().as_deref(), Some("starting"));
        health.set("vae", &[], Condition::Ready).await;
        assert_eq!(health.unready(), None);
        health.set("denoiser", &[], Condition::Waiting("its weights")).await;
        assert_eq!(health.unready().as_deref(), Some("denoiser: waiting for its weights"));
        health.set("denoiser", &[], Condition::Ready).await;
        health.set("vae", &[], Condition::Draining).await;
        assert_eq!(health.unready().as_deref(), Some("vae: shutting down"));
        health.set("vae", &[], Condition::Failed("no\nweights".to_owned())).await;
        assert_eq!(health.unready().as_deref(), Some("vae: no weights"));
    }
}
