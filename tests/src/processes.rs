use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use crate::repository;

/// No test here needs so long, whatever else the machine does.
const PATIENCE: Duration = Duration::from_secs(120);

/// The path of a binary of the workspace, built in the profile of the tests.
pub fn binary(name: &str) -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let package = if name == "cogwheel" { "cogwheel" } else { name };
    let status = Command::new(cargo)
        .args(["build", "--quiet", "--offline", "--package", package, "--bin", name])
        .current_dir(repository())
        .status()
        .unwrap();
    assert!(status.success(), "{name} does not build");
    // target/PROFILE/deps/this-test
    let test = std::env::current_exe().unwrap();
    test.parent().unwrap().parent().unwrap().join(name)
}

/// A process that is killed when the test ends.
#[derive(Debug)]
pub struct Process(Child);

impl Process {
    /// Starts a program with its output taken.
    pub fn start<S: AsRef<OsStr>>(program: &Path, args: &[S]) -> Self {
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self(command.spawn().unwrap())
    }

    /// Sends a signal by its name, e.g. `TERM`.
    pub fn signal(&self, name: &str) {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// Waits for the end; gives the status, standard output and standard error.
    pub fn wait(mut self) -> (ExitStatus, String, String) {
        let mut error = self.0.stderr.take().unwrap();
        let errors = std::thread::spawn(move || {
            let mut text = String::new();
            error.read_to_string(&mut text).unwrap();
            text
        });
        let mut output = String::new();
        self.0.stdout.take().unwrap().read_to_string(&mut output).unwrap();
        (self.0.wait().unwrap(), output, errors.join().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A service's process, listening on a port of its own.
#[derive(Debug)]
pub struct ServiceProcess {
    process: Process,
    /// `http://127.0.0.1:PORT`.
    pub url: String,
    /// Every line it logs.
    pub logs: mpsc::Receiver<String>,
}

impl ServiceProcess {
    /// Starts a service binary on a free port and waits until it listens.
    pub fn start(name: &str, args: &[&str]) -> Self {
        let program = binary(name);
        let mut all = vec!["--listen", "127.0.0.1:0", "--log-format", "json"];
        all.extend(args);
        Self::of(&program, &all)
    }

    /// Starts a program that logs JSON lines and waits until it listens.
    pub fn of(program: &Path, args: &[&str]) -> Self {
        let mut process = Process::start(program, args);
        let lines = BufReader::new(process.0.stderr.take().unwrap()).lines();
        let (sender, logs) = mpsc::channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let mut service = Self { process, url: String::new(), logs };
        let line = service.wait_for("\"listening\"");
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        service.url = format!("http://{}", line["address"].as_str().unwrap());
        service
    }

    /// Waits for a log line that contains `text`.
    pub fn wait_for(&self, text: &str) -> String {
        let mut seen = Vec::new();
        loop {
            match self.logs.recv_timeout(PATIENCE) {
                Ok(line) if line.contains(text) => return line,
                Ok(line) => seen.push(line),
                Err(error) => panic!("no log line with {text} ({error}); found {seen:#?}"),
            }
        }
    }

    /// Asks it to end.
    pub fn terminate(&self) {
        self.process.signal("TERM");
    }

    /// Waits for its end.
    pub fn wait(mut self) -> ExitStatus {
        self.process.0.wait().unwrap()
    }
}

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
        let model = model.to_str().unwrap();
        let stage = ["--model", model, "--threads", "1"];
        let text_encoder = ServiceProcess::start("cogwheel-text-encoder", &stage);
        let denoiser = ServiceProcess::start("cogwheel-denoiser", &stage);
        let vae = ServiceProcess::start("cogwheel-vae", &stage);
        let args = [
            ["--model", model],
            ["--text-encoder", &text_encoder.url],
            ["--denoiser", &denoiser.url],
            ["--vae", &vae.url],
        ];
        let orchestrator = ServiceProcess::start("cogwheel-orchestrator", args.as_flattened());
        for stage in [&text_encoder, &denoiser, &vae] {
            stage.wait_for("\"ready\"");
        }
        Self { text_encoder, denoiser, vae, orchestrator }
    }
}
