//! A server's bounds on what a request may hold.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

/// A server of the demo model.
struct Server {
    process: Child,
    endpoint: String,
}

impl Server {
    fn start(arguments: &[&str]) -> Self {
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demo/model");
        let mut command = Command::new(env!("CARGO_BIN_EXE_cogwheel"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json", "--model"]);
        let mut process =
            command.arg(model).args(arguments).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap()).lines().map_while(Result::ok);
        let listening = log.find(|line| line.contains("\"listening\"")).unwrap();
        // Nothing waits for a reader of the rest.
        std::thread::spawn(move || log.for_each(drop));
        let listening: Value = serde_json::from_str(&listening).unwrap();
        let endpoint = format!("http://{}", listening["address"].as_str().unwrap());
        Self { process, endpoint }
    }

    /// What the client says, of a request with these options.
    fn refusal(&self, arguments: &[&str]) -> String {
        let output = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_cogwheel"));
        command.args(["generate", "--endpoint", &self.endpoint, "--output"]);
        command.arg(output.path().join("o.mp4")).args(arguments);
        let Output { status, stderr, .. } = command.output().unwrap();
        let told = String::from_utf8(stderr).unwrap();
        assert_eq!((status.code(), told.lines().count()), (Some(2), 1), "{told}");
        told
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_request_that_the_server_finds_too_large_is_told_with_both_sizes() {
    let server = Server::start(&["--max-request-bytes", "100", "--max-input-pixels", "10"]);
    let told = server.refusal(&["--prompt", &"a".repeat(300)]);
    let expected = format!(
        "error: the server at {}: expected a request of at most 100 bytes (its --max-request-bytes), found 3",
        server.endpoint
    );
    assert!(told.starts_with(&expected), "{told}");
    // As large as a picture is.
    let picture = tempfile::NamedTempFile::new().unwrap();
    picture.as_file().set_len(8 << 20).unwrap();
    let told = server.refusal(&["--prompt", "a", "--image", picture.path().to_str().unwrap()]);
    assert!(told.starts_with(&expected[..expected.len() - 1]), "{told}");
    // The client's own bound comes first.
    let told = server.refusal(&["--prompt", &"a".repeat(300), "--max-request-bytes", "50"]);
    assert!(told.starts_with("error: expected a request of at most 50 bytes"), "{told}");
    let told = server.refusal(&["--prompt", "a", "--max-input-pixels", "50"]);
    assert!(told.contains("--max-input-pixels: expected with --model only"), "{told}");
}
