//! What a process counts and measures, for Prometheus. Everything is recorded through the functions here; label values are
//! of small sets that no caller can widen.

mod catalogue;
mod requests;
mod text;
mod waiting;

use std::time::Duration;

use catalogue::METRICS;
pub use catalogue::{Entry, entries};
pub(crate) use requests::RequestLayer;
pub(crate) use text::MEDIA_TYPE;
pub use text::text;
pub use waiting::{Waiting, waited};

/// Why requests are refused before they are worked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rejected {
    Full,
    Draining,
    Invalid,
    Memory,
    Unauthenticated,
    Permission,
}

/// Why requests end before their work does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cancelled {
    Client,
    Deadline,
    Drain,
    Stalled,
}

/// What is kept so as not to be made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cache {
    /// Embeddings of prompts.
    PromptEmbeddings,
    /// Merged variants in memory.
    Variants,
}

/// The `service` label of what messages call so, e.g. `the denoiser's place for adapters`.
pub(crate) fn label(name: &str) -> &'static str {
    let name = name.strip_prefix("the ").unwrap_or(name);
    let labels = [
        ("text encoder", "text_encoder"),
        ("text_encoder", "text_encoder"),
        ("denoiser", "denoiser"),
        ("vae", "vae"),
        ("orchestrator", "orchestrator"),
    ];
    labels.iter().find(|(words, _)| name.starts_with(words)).map_or("other", |(_, label)| label)
}

/// A server begins: what may be counted of it is there from now on, at zero.
pub(crate) fn begin(server: &'static str) {
    let service = label(server);
    METRICS.in_flight.get_or_create_owned(&[("service", service)]);
    METRICS.queue_depth.get_or_create_owned(&[("service", service)]);
    for reason in Rejected::ALL {
        METRICS.rejected.get_or_create_owned(&[("service", service), ("reason", reason.label())]);
    }
    for reason in Cancelled::ALL {
        METRICS.cancelled.get_or_create_owned(&[("service", service), ("reason", reason.label())]);
    }
    ready(server, false);
}

/// Whether a server is ready.
pub(crate) fn ready(server: &'static str, ready: bool) {
    METRICS.ready.get_or_create(&[("service", label(server))]).set(i64::from(ready));
}

/// A call of the service with this label was refused.
pub(crate) fn rejected(service: &'static str, reason: Rejected) {
    METRICS.rejected.get_or_create(&[("service", service), ("reason", reason.label())]).inc();
}

/// A call of the service with this label was cut.
pub(crate) fn cancelled(service: &'static str, reason: Cancelled) {
    METRICS.cancelled.get_or_create(&[("service", service), ("reason", reason.label())]).inc();
}

/// A model was loaded, and run once where it is to stay.
pub(crate) fn model_loaded(server: &str, time: Duration) {
    METRICS.model_load.get_or_create(&[("service", label(server))]).set(time.as_secs_f64());
}

/// A step of sampling is done.
pub fn step(time: Duration) {
    METRICS.step.observe(time.as_secs_f64());
}

/// A variant was merged.
pub fn merged(time: Duration) {
    METRICS.merge.observe(time.as_secs_f64());
}

/// So many variants of so many bytes together are kept in memory.
pub fn resident_variants(count: usize, bytes: u64) {
    METRICS.resident_variants.set(i64::try_from(count).unwrap_or(i64::MAX));
    METRICS.resident_variant_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
}

/// So many were found in a cache, so many were not.
pub fn cache(cache: Cache, hits: usize, misses: usize) {
    let labels = [("cache", cache.label())];
    METRICS.cache_hits.get_or_create(&labels).inc_by(hits as u64);
    METRICS.cache_misses.get_or_create(&labels).inc_by(misses as u64);
}

/// A service, as messages call it, has decoded, encoded or handed out so many frames.
pub fn frames(service: &str, count: usize) {
    METRICS.frames.get_or_create(&[("service", label(service))]).inc_by(count as u64);
}

/// Whether a replica of a stage takes work; `None` when it is no longer among the stage's replicas.
pub fn replica(stage: &str, address: &str, up: Option<bool>) {
    let labels = catalogue::Replica { stage: label(stage), address: address.to_owned() };
    // There from the start, at zero: the first one would else be no increase.
    METRICS.stage_retries.get_or_create_owned(&[("stage", label(stage))]);
    match up {
        Some(up) => {
            METRICS.replica_up.get_or_create(&labels).set(i64::from(up));
        }
        None => {
            METRICS.replica_up.remove(&labels);
        }
    }
}

/// A stage's call is made again.
pub fn stage_retried(stage: &str) {
    METRICS.stage_retries.get_or_create(&[("stage", label(stage))]).inc();
}

impl Rejected {
    const ALL: [Self; 6] = [
        Self::Full,
        Self::Draining,
        Self::Invalid,
        Self::Memory,
        Self::Unauthenticated,
        Self::Permission,
    ];

    fn label(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Draining => "draining",
            Self::Invalid => "invalid",
            Self::Memory => "memory",
            Self::Unauthenticated => "unauthenticated",
            Self::Permission => "permission",
        }
    }
}

impl Cancelled {
    const ALL: [Self; 4] = [Self::Client, Self::Deadline, Self::Drain, Self::Stalled];

    fn label(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Deadline => "deadline",
            Self::Drain => "drain",
            Self::Stalled => "stalled",
        }
    }
}

impl Cache {
    fn label(self) -> &'static str {
        match self {
            Self::PromptEmbeddings => "prompt_embeddings",
            Self::Variants => "variants",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_labelled_by_what_messages_call_them() {
        for (name, expected) in [
            ("text encoder", "text_encoder"),
            ("the text encoder", "text_encoder"),
            ("the denoiser's place for adapters", "denoiser"),
            ("vae", "vae"),
            ("the orchestrator", "orchestrator"),
            ("gated", "other"),
        ] {
            assert_eq!(label(name), expected);
        }
    }
}
