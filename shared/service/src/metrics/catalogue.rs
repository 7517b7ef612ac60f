use std::sync::LazyLock;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry, Unit};

/// Upper bounds of histograms, in seconds: from a step of a small model to a long video of a large one.
const SECONDS: [f64; 17] = [
    0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0,
    1800.0, 3600.0,
];

/// Labels whose values stand in this program.
pub(super) type Labels<const N: usize> = [(&'static str, &'static str); N];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Request {
    pub(super) service: &'static str,
    pub(super) method: String,
    pub(super) code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Method {
    pub(super) service: &'static str,
    pub(super) method: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Replica {
    pub(super) stage: &'static str,
    pub(super) address: String,
}

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// The metrics of this process.
pub(super) struct Metrics {
    pub(super) registry: Registry,
    pub(super) entries: Vec<Entry>,
    pub(super) requests: Family<Request, Counter>,
    pub(super) request_duration: Histograms<Method>,
    pub(super) in_flight: Family<Labels<1>, Gauge>,
    pub(super) rejected: Family<Labels<2>, Counter>,
    pub(super) cancelled: Family<Labels<2>, Counter>,
    pub(super) queue_depth: Family<Labels<1>, Gauge>,
    pub(super) queue: Histograms<Labels<1>>,
    pub(super) step: Histogram,
    pub(super) merge: Histogram,
    pub(super) resident_variants: Gauge,
    pub(super) resident_variant_bytes: Gauge,
    pub(super) cache_hits: Family<Labels<1>, Counter>,
    pub(super) cache_misses: Family<Labels<1>, Counter>,
    pub(super) frames: Family<Labels<1>, Counter>,
    pub(super) model_load: Family<Labels<1>, Gauge<f64, AtomicU64>>,
    pub(super) ready: Family<Labels<1>, Gauge>,
    pub(super) replica_up: Family<Replica, Gauge>,
    pub(super) stage_retries: Family<Labels<1>, Counter>,
}

/// One metric, as it is documented.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// As it is exported, without the suffixes of a histogram's series.
    pub name: String,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// `seconds`, `bytes` or nothing.
    pub unit: &'static str,
    /// Names of its labels.
    pub labels: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
}

/// Every metric that there is.
pub fn entries() -> &'static [Entry] {
    &METRICS.entries
}

pub(super) static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::new);

impl Metrics {
    fn new() -> Self {
        let mut all =
            Catalogue { registry: Registry::with_prefix("cogwheel"), entries: Vec::new() };
        let build = Family::<Labels<1>, Gauge>::default();
        build.get_or_create(&[("version", env!("CARGO_PKG_VERSION"))]).set(1);
        all.add("build_info", &["version"], "Always 1; which version runs", build);
        Self {
            requests: all.add("requests", &["service", "method", "code"], "Calls that ended, by gRPC's code", Family::default()),
            request_duration: all.seconds("request_duration", &["service", "method"], "What calls took, from the first byte up to the last byte down", histograms()),
            in_flight: all.add("requests_in_flight", &["service"], "Calls that run or wait", Family::default()),
            rejected: all.add("rejected", &["service", "reason"], "Calls refused before work began: full, draining, invalid, memory, unauthenticated or permission", Family::default()),
            cancelled: all.add("cancelled", &["service", "reason"], "Calls that ended before their work: client (it left), deadline, drain (the grace time passed) or stalled (it did not read or send)", Family::default()),
            queue_depth: all.add("queue_depth", &["service"], "Calls that wait for their turn", Family::default()),
            queue: all.seconds("queue", &["service"], "What calls waited for their turn", histograms()),
            step: all.seconds("step", &[], "What the denoiser's steps took", histogram()),
            merge: all.seconds("merge", &[], "What merging variants took, those read from the disk's cache left out", histogram()),
            resident_variants: all.add("resident_variants", &[], "Variants that the denoiser keeps in memory", Gauge::default()),
            resident_variant_bytes: all.add_in("resident_variant", Unit::Bytes, &[], "Bytes of the variants that the denoiser keeps in memory", Gauge::default()),
            cache_hits: all.add("cache_hits", &["cache"], "What was found in a cache: prompt_embeddings of the text encoder, variants of the denoiser", Family::default()),
            cache_misses: all.add("cache_misses", &["cache"], "What was not found in a cache and had to be made", Family::default()),
            frames: all.add("frames", &["service"], "Frames that the vae decoded or encoded, and that the orchestrator handed on", Family::default()),
            model_load: all.seconds("model_load", &["service"], "What loading the model and running it once took, the last time", Family::default()),
            ready: all.add("ready", &["service"], "1 while the service takes work, else 0", Family::default()),
            replica_up: all.add("replica_up", &["stage", "address"], "1 while the orchestrator gives work to this replica of a stage, 0 while it leaves it out", Family::default()),
            stage_retries: all.add("stage_retries", &["stage"], "Calls of stages that the orchestrator made again", Family::default()),
            registry: all.registry,
            entries: all.entries,
        }
    }
}

/// Registers metrics, and notes how they are documented.
struct Catalogue {
    registry: Registry,
    entries: Vec<Entry>,
}

impl Catalogue {
    fn add<M: Metric + Clone>(
        &mut self,
        name: &str,
        labels: &'static [&'static str],
        help: &'static str,
        metric: M,
    ) -> M {
        self.note(name, "", labels, help, &metric);
        self.registry.register(name, help, metric.clone());
        metric
    }

    fn seconds<M: Metric + Clone>(
        &mut self,
        name: &str,
        labels: &'static [&'static str],
        help: &'static str,
        metric: M,
    ) -> M {
        self.add_in(name, Unit::Seconds, labels, help, metric)
    }

    fn add_in<M: Metric + Clone>(
        &mut self,
        name: &str,
        unit: Unit,
        labels: &'static [&'static str],
        help: &'static str,
        metric: M,
    ) -> M {
        let unit_name = if unit == Unit::Bytes { "bytes" } else { "seconds" };
        self.note(name, unit_name, labels, help, &metric);
        self.registry.register_with_unit(name, help, unit, metric.clone());
        metric
    }

    fn note(
        &mut self,
        name: &str,
        unit: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
        metric: &impl EncodeMetric,
    ) {
        let (kind, suffix) = match metric.metric_type() {
            MetricType::Counter => ("counter", "_total"),
            MetricType::Histogram => ("histogram", ""),
            MetricType::Gauge | MetricType::Info | MetricType::Unknown => ("gauge", ""),
        };
        let separator = if unit.is_empty() { "" } else { "_" };
        let name = format!("cogwheel_{name}{separator}{unit}{suffix}");
        self.entries.push(Entry { name, kind, unit, labels, help });
    }
}

fn histogram() -> Histogram {
    Histogram::new(SECONDS)
}

fn histograms<L: Clone + std::hash::Hash + Eq>() -> Histograms<L> {
    Family::new_with_constructor(histogram)
}
