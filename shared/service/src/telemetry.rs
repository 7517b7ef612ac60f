use std::time::Duration;

use clap::Args;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{SpanExporter, WithTonicConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider,
};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::FilterFn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::{Address, Dialer, DialerSettings, LogArgs};

/// Where the endpoint may be said too, as for every other program that tells its traces.
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
/// Spans that wait to be sent: those of some generations. More are dropped, and counted in the log.
const MAX_WAITING: usize = 8192;
/// How long the end of a process waits for the last spans to be sent; a collector that is gone takes all of it.
const FAREWELL: Duration = Duration::from_secs(2);
/// Spans of threads and tasks that go on from call to call: no generation's trace has them.
const OF_NO_CALL: [&str; 2] = ["worker", "replica"];

/// Settings of the traces.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Traces")]
pub struct TraceArgs {
    /// Collector that is told each generation's trace, by OTLP over gRPC, e.g. http://127.0.0.1:4317; default: what
    /// OTEL_EXPORTER_OTLP_ENDPOINT says
    #[arg(long, env = "COGWHEEL_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<Address>,
    /// Share of the traces that is told, of those that begin here; others are where whoever began them says so
    #[arg(long, env = "COGWHEEL_TRACE_SAMPLE", value_name = "RATIO", default_value_t = 1.0, value_parser = ratio)]
    pub trace_sample: f64,
}

fn ratio(text: &str) -> Result<f64, String> {
    let ratio = text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
    ratio.ok_or_else(|| "expected a number from 0 to 1".to_owned())
}

/// Sends a process's spans to a collector, from threads of its own: nobody who makes a span waits.
#[derive(Debug)]
#[must_use = "the last spans are sent by `finish`"]
pub struct Telemetry(Option<Exporter>);

#[derive(Debug)]
struct Exporter {
    provider: SdkTracerProvider,
    /// Sends; the provider's own thread gathers.
    runtime: tokio::runtime::Runtime,
}

impl Telemetry {
    /// Sends logs to standard error, and spans to a collector where there is one, from now on. `name` is the process's.
    /// Neither ever holds a prompt.
    ///
    /// # Errors
    /// A filter or endpoint that cannot be read.
    pub fn begin(name: &str, logs: &LogArgs, traces: &TraceArgs) -> Result<Self, String> {
        let lines = logs.lines()?;
        let exporter = traces.endpoint()?.map(|endpoint| Exporter::new(name, &endpoint, traces));
        let exporter = exporter.transpose()?;
        let spans = exporter.as_ref().map(|exporter| {
            let ours = FilterFn::new(|metadata| {
                let is_told = *metadata.level() <= tracing::Level::INFO;
                let is_ours = metadata.target().starts_with("cogwheel");
                metadata.is_span() && is_told && is_ours && !OF_NO_CALL.contains(&metadata.name())
            });
            tracing_opentelemetry::layer()
                .with_tracer(exporter.provider.tracer("cogwheel"))
                .with_location(false)
                .with_threads(false)
                .with_target(false)
                .with_level(false)
                .with_tracked_inactivity(false)
                .with_filter(ours.with_max_level_hint(LevelFilter::INFO))
        });
        tracing_subscriber::registry().with(lines).with(spans).init();
        Ok(Self(exporter))
    }

    /// Sends what is left, for a little while.
    pub fn finish(self) {
        let Some(Exporter { provider, runtime }) = self.0 else { return };
        if let Err(error) = provider.shutdown_with_timeout(FAREWELL) {
            tracing::debug!(%error, "the last spans are not sent");
        }
        runtime.shutdown_background();
    }
}

impl TraceArgs {
    fn endpoint(&self) -> Result<Option<Address>, String> {
        if let Some(endpoint) = &self.otlp_endpoint {
            return Ok(Some(endpoint.clone()));
        }
        let endpoint = std::env::var(ENDPOINT).ok().filter(|endpoint| !endpoint.is_empty());
        let parsed = endpoint.map(|endpoint| endpoint.parse());
        parsed.transpose().map_err(|error| format!("{ENDPOINT}: {error}"))
    }
}

impl Exporter {
    fn new(name: &str, endpoint: &Address, traces: &TraceArgs) -> Result<Self, String> {
        let told = |error: &dyn std::fmt::Display| format!("--otlp-endpoint: {error}");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("traces")
            .enable_all()
            .build()
            .map_err(|error| told(&error))?;
        let entered = runtime.enter();
        // An https:// collector has its certificate from the system's authorities.
        let dialer = Dialer::new(DialerSettings::default(), endpoint.is_secure());
        let dialer = dialer.map_err(|fatal| told(&fatal.message))?;
        let exporter =
            SpanExporter::builder().with_tonic().with_channel(dialer.channel(endpoint)).build();
        let exporter = exporter.map_err(|error| told(&error))?;
        let waiting = BatchConfigBuilder::default().with_max_queue_size(MAX_WAITING).build();
        let processor = BatchSpanProcessor::builder(exporter).with_batch_config(waiting).build();
        let ratio = Sampler::TraceIdRatioBased(traces.trace_sample);
        let provider = SdkTracerProvider::builder()
            .with_span_processor(processor)
            .with_sampler(Sampler::ParentBased(Box::new(ratio)))
            .with_resource(Resource::builder().with_service_name(name.to_owned()).build())
            .build();
        drop(entered);
        Ok(Self { provider, runtime })
    }
}
