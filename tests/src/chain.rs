use std::path::Path;

use clap::{Args, Command};
use cogwheel_api::generation::v1::generation_service_client::GenerationServiceClient;
use cogwheel_orchestrator::{Residency, StagesArgs};
use cogwheel_service::{Address, Connector, Limits, Shutdown, connect, memory_listener};
use tokio::task::JoinHandle;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

/// The four services in this process, over in-memory connections, with default settings.
#[derive(Debug)]
pub struct Chain {
    orchestrator: Connector,
    stages: [Connector; 3],
    shutdown: Shutdown,
    stage_shutdowns: Vec<Shutdown>,
    tasks: Vec<JoinHandle<()>>,
}

const LIMITS: Limits = Limits::DEFAULT;

impl Chain {
    /// Starts the services on a checkpoint.
    pub fn start(model: &Path) -> Self {
        Self::start_with(model, &[])
    }

    /// Starts the services; `orchestrator` are further flags of the orchestrator.
    pub fn start_with(model: &Path, orchestrator: &[&str]) -> Self {
        Self::start_threads(model, "1", orchestrator)
    }

    /// Starts the services with so many threads an operator.
    pub fn start_threads(model: &Path, threads: &str, orchestrator: &[&str]) -> Self {
        Self::launch(model, &["--threads", threads], orchestrator, Residency::Apart)
    }

    /// Starts the services in a precision, as `--precision` names it.
    pub fn start_precision(model: &Path, precision: &str) -> Self {
        Self::launch(model, &["--threads", "1", "--precision", precision], &[], Residency::Apart)
    }

    /// Starts the services, each stage with so much memory, e.g. `1GB`.
    pub fn start_limited(model: &Path, memory: &str) -> Self {
        Self::launch(model, &["--threads", "1", "--memory-limit", memory], &[], Residency::Apart)
    }

    /// Starts the services with the adapters of a folder; `denoiser` are further flags of the denoiser.
    pub fn start_adapters(model: &Path, adapters: &Path, denoiser: &[&str]) -> Self {
        let adapters = ["--adapter-dir", adapters.to_str().unwrap()];
        Self::launch_with(model, &["--threads", "1"], denoiser, &adapters, Residency::Apart)
    }

    /// The same with linear layers computed in bytes.
    pub fn start_in_bytes(model: &Path, adapters: &Path) -> Self {
        let adapters = ["--adapter-dir", adapters.to_str().unwrap()];
        let stage = ["--threads", "1", "--precision", "int8"];
        Self::launch_with(model, &stage, &[], &adapters, Residency::Apart)
    }

    /// The same with the variants of these `--pin` words pinned.
    pub fn start_pinned(model: &Path, adapters: &Path, denoiser: &[&str], pins: &[&str]) -> Self {
        let mut flags = vec!["--adapter-dir", adapters.to_str().unwrap()];
        flags.extend(pins.iter().flat_map(|pin| ["--pin", *pin]));
        Self::launch_with(model, &["--threads", "1"], denoiser, &flags, Residency::Apart)
    }

    /// Starts the services as where memory holds one stage at a time.
    pub fn start_one_by_one(model: &Path) -> Self {
        Self::launch(model, &["--release-after-use"], &[], Residency::OneByOne)
    }

    fn launch(
        model: &Path,
        stage_flags: &[&str],
        orchestrator: &[&str],
        residency: Residency,
    ) -> Self {
        Self::launch_with(model, stage_flags, &[], orchestrator, residency)
    }

    fn launch_with(
        model: &Path,
        stage_flags: &[&str],
        denoiser: &[&str],
        orchestrator: &[&str],
        residency: Residency,
    ) -> Self {
        let model = model.to_str().unwrap().to_owned();
        let mut stage = vec!["--model", &model, "--execution-provider", "cpu"];
        stage.extend(stage_flags);
        let mut tasks = Vec::new();
        let mut stage_shutdowns = Vec::new();
        macro_rules! start {
            ($service:ident, $flags:expr) => {{
                let settings: $service::Settings = parse(&[stage.as_slice(), $flags].concat());
                let (connector, listener) = memory_listener();
                let shutdown = Shutdown::new();
                stage_shutdowns.push(shutdown.clone());
                tasks.push(tokio::spawn(async move {
                    $service::run(settings, listener, LIMITS, &shutdown).await.unwrap();
                }));
                connector
            }};
        }
        let stages = [
            start!(cogwheel_text_encoder, &[]),
            start!(cogwheel_denoiser, denoiser),
            start!(cogwheel_vae, &[]),
        ];

        let mut flags = vec!["--model", &model];
        // The addresses are replaced below: in-memory ones have no text.
        for name in ["--text-encoder", "--denoiser", "--vae"] {
            flags.extend([name, "http://replaced:1"]);
        }
        flags.extend(orchestrator);
        let mut settings: cogwheel_orchestrator::Settings = parse(&flags);
        settings.residency = residency;
        let [text_encoder, denoiser, vae] =
            stages.each_ref().map(|stage| Address::Memory(stage.clone()));
        settings.stages = StagesArgs::of(text_encoder, denoiser, vae);
        let (connector, listener) = memory_listener();
        let shutdown = Shutdown::new();
        tasks.push(tokio::spawn({
            let shutdown = shutdown.clone();
            async move {
                let running = cogwheel_orchestrator::run(settings, listener, LIMITS, &shutdown);
                running.await.unwrap();
            }
        }));
        Self { orchestrator: connector, stages, shutdown, stage_shutdowns, tasks }
    }

    /// A client of the public API, on a connection of its own.
    pub fn client(&self) -> GenerationServiceClient<Channel> {
        let client = GenerationServiceClient::new(self.channel());
        client.max_decoding_message_size(64 << 20)
    }

    /// A channel to the orchestrator.
    pub fn channel(&self) -> Channel {
        connect(&Address::Memory(self.orchestrator.clone()))
    }

    /// Channels to text encoder, denoiser and vae.
    pub fn stage_channels(&self) -> [Channel; 3] {
        self.stages.each_ref().map(|stage| connect(&Address::Memory(stage.clone())))
    }

    /// The orchestrator's own shutdown.
    pub fn shutdown(&self) -> &Shutdown {
        &self.shutdown
    }

    /// Drains the orchestrator, then the stages, and waits for all of them. What is being loaded is waited for: the runtime
    /// does not bear that a process ends meanwhile.
    pub async fn stop(mut self) {
        for channel in self.stage_channels() {
            let mut health = HealthClient::new(channel);
            let changes = health.watch(HealthCheckRequest { service: String::new() }).await;
            let mut changes = changes.unwrap().into_inner();
            while changes.message().await.unwrap().unwrap().status() != ServingStatus::Serving {}
        }
        self.shutdown.begin();
        // The orchestrator was started last.
        self.tasks.pop().unwrap().await.unwrap();
        for shutdown in &self.stage_shutdowns {
            shutdown.begin();
        }
        for task in self.tasks {
            task.await.unwrap();
        }
    }
}

fn parse<A: Args>(flags: &[&str]) -> A {
    let command = A::augment_args(Command::new("test").no_binary_name(true));
    A::from_arg_matches(&command.get_matches_from(flags)).unwrap()
}
