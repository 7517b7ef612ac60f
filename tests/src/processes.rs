use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use cogwheel_service::connect;
use tonic::transport::Channel;

use crate::own_host;

/// No test here needs so long, whatever else the machine does.
const PATIENCE: Duration = Duration::from_secs(120);

/// The path of a binary of the workspace, as the tests of its own package have built it.
///
/// Cargo builds a package's binaries for that package's tests, so `cargo test --workspace` has them
/// all; for this package's tests alone, build them before.
pub fn binary(name: &str) -> PathBuf {
    // target/PROFILE/deps/this-test
    let test = std::env::current_exe().unwrap();
    let path = test.parent().unwrap().parent().unwrap().join(name);
    assert!(path.is_file(), "{} is missing: cargo build --workspace --bins", path.display());
    path
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
        // The shell's own: a slim machine has no program of that name.
        let kill = format!("kill -s {name} {}", self.0.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// Waits for the end; gives the status, standard output and standard error.
    pub fn wait(mut self) -> (ExitStatus, String, String) {
        let output = read_to_end(self.0.stdout.take().unwrap());
        let error = read_to_end(self.0.stderr.take().unwrap());
        // Both end with the process.
        let output = output.recv_timeout(PATIENCE).expect("the process ends");
        let error = error.recv_timeout(PATIENCE).expect("the process ends");
        (self.0.wait().unwrap(), output, error)
    }
}

fn read_to_end(mut pipe: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut text = String::new();
        pipe.read_to_string(&mut text).unwrap();
        let _ = sender.send(text);
    });
    receiver
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
    /// `http://127.0.0.1:PORT`, or `https://` where it has a certificate.
    pub url: String,
    lines: mpsc::Receiver<String>,
    seen: Mutex<Vec<String>>,
}

impl ServiceProcess {
    /// Starts a service binary on a free port and waits until it listens.
    pub fn start(name: &str, args: &[&str]) -> Self {
        Self::start_on(&format!("{}:0", own_host()), name, args)
    }

    /// Starts a service binary on an address and waits until it listens.
    pub fn start_on(address: &str, name: &str, args: &[&str]) -> Self {
        let mut all = vec!["--listen", address, "--log-format", "json"];
        all.extend(args);
        Self::of(&binary(name), &all)
    }

    /// Starts a program that logs JSON lines and waits until it listens.
    pub fn of(program: &Path, args: &[&str]) -> Self {
        let mut process = Process::start(program, args);
        let lines = BufReader::new(process.0.stderr.take().unwrap()).lines();
        let (sender, received) = mpsc::channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let seen = Mutex::default();
        let mut service = Self { process, url: String::new(), lines: received, seen };
        let line = service.wait_for("\"listening\"");
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        let scheme = if line["tls"] == true { "https" } else { "http" };
        service.url = format!("{scheme}://{}", line["address"].as_str().unwrap());
        service
    }

    /// A log line that contains `text`: the first one, waited for if it has not come yet.
    pub fn wait_for(&self, text: &str) -> String {
        let mut seen = self.seen.lock().unwrap();
        let mut known = 0;
        loop {
            if let Some(line) = seen[known..].iter().find(|line| line.contains(text)) {
                return line.clone();
            }
            known = seen.len();
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => seen.push(line),
                Err(error) => panic!("no {text} ({error}) in {seen:#?}"),
            }
        }
    }

    /// `HOST:PORT`, as `--listen` takes it.
    pub fn address(&self) -> &str {
        self.url.split_once("://").unwrap().1
    }

    /// `HOST:PORT` of its admin port, which it was started with.
    pub fn admin(&self) -> String {
        let line = self.wait_for("\"the admin port is open\"");
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        line["address"].as_str().unwrap().to_owned()
    }

    /// A channel of its own.
    pub fn channel(&self) -> Channel {
        connect(&self.url.parse().unwrap())
    }

    /// Asks it to end.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    /// Waits for its end.
    pub fn wait(self) -> ExitStatus {
        self.finish().0
    }

    /// Waits for its end; gives every line it wrote on standard error as well.
    pub fn finish(mut self) -> (ExitStatus, Vec<String>) {
        let mut lines = self.seen.into_inner().unwrap();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => lines.push(line),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => panic!("it does not end; logs: {lines:#?}"),
            }
        }
        (self.process.0.wait().unwrap(), lines)
    }
}
