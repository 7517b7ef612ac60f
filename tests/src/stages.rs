use std::path::Path;

use cogwheel_api::generation::v1::generation_service_client::GenerationServiceClient;
use tonic::transport::Channel;

use crate::{ServiceProcess, own_host};

/// Four processes, chained by TCP.
#[derive(Debug)]
pub struct Stages {
    /// Embeddings.
    pub text_encoder: ServiceProcess,
    /// Latents.
    pub denoiser: ServiceProcess,
    /// Frames.
    pub vae: ServiceProcess,
    /// The public API.
    pub orchestrator: ServiceProcess,
}

impl Stages {
    /// Starts all four on a checkpoint and waits until the stages are ready.
    pub fn start(model: &Path) -> Self {
        Self::start_with(model, &[])
    }

    /// Starts all four with further flags, which every service has.
    pub fn start_with(model: &Path, flags: &[&str]) -> Self {
        let stage = |name| Self::stage(name, model, flags);
        let text_encoder = stage("cogwheel-text-encoder");
        let denoiser = stage("cogwheel-denoiser");
        let vae = stage("cogwheel-vae");
        let urls = [&text_encoder.url, &denoiser.url, &vae.url].map(String::as_str);
        let orchestrator = Self::orchestrator(model, urls, flags);
        for stage in [&text_encoder, &denoiser, &vae] {
            stage.wait_for("\"ready\"");
        }
        Self { text_encoder, denoiser, vae, orchestrator }
    }

    /// Starts one stage on a free port.
    pub fn stage(name: &str, model: &Path, flags: &[&str]) -> ServiceProcess {
        Self::stage_on(&format!("{}:0", own_host()), name, model, flags)
    }

    /// Starts one stage on an address.
    pub fn stage_on(address: &str, name: &str, model: &Path, flags: &[&str]) -> ServiceProcess {
        let mut args = vec!["--model", model.to_str().unwrap(), "--threads", "1"];
        args.extend(flags);
        ServiceProcess::start_on(address, name, &args)
    }

    /// Starts an orchestrator of text encoder, denoiser and vae, which need not be there yet. It does not wait for a stage
    /// that is down, unless the flags say so.
    pub fn orchestrator(model: &Path, urls: [&str; 3], flags: &[&str]) -> ServiceProcess {
        let [text_encoder, denoiser, vae] = urls;
        let stages = ["--text-encoder", text_encoder, "--denoiser", denoiser, "--vae", vae];
        let mut args = vec!["--model", model.to_str().unwrap()];
        args.extend(stages);
        args.extend(flags);
        if !flags.contains(&"--stage-patience-seconds") {
            args.extend(["--stage-patience-seconds", "0"]);
        }
        ServiceProcess::start("cogwheel-orchestrator", &args)
    }

    /// A client of the public API, on a connection of its own.
    pub fn client(&self) -> GenerationServiceClient<Channel> {
        let client = GenerationServiceClient::new(self.orchestrator.channel());
        client.max_decoding_message_size(64 << 20)
    }
}
