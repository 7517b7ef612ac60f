//! Prompts that a language model writes out, here an endpoint on loopback that always says the same.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};

const LONG: &str = "a large red circle glides slowly to the left over a dark background";
const KEY: &str = "sk-sEcReT";
/// No test waits so long.
const PATIENCE: Duration = Duration::from_secs(120);

fn demo() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demo/model");
    path.to_str().unwrap().to_owned()
}

/// An endpoint, and what it is asked.
struct Endpoint {
    url: String,
    seen: Receiver<String>,
    /// When the other side has left without an answer.
    left: Receiver<()>,
}

impl Endpoint {
    /// Answers each request with this status and the long prompt, or never, where there is none.
    fn new(status: Option<u16>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let (sender, seen) = channel();
        let (leaves, left) = channel();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let _ = sender.send(request(&stream));
                let Some(status) = status else {
                    let _ = stream.read(&mut [0]);
                    let _ = leaves.send(());
                    continue;
                };
                let body =
                    json!({"choices": [{"message": {"content": format!("{LONG}\n")}}]}).to_string();
                let head = format!(
                    "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                    body.len()
                );
                let _ = stream.write_all(&[head.as_bytes(), body.as_bytes()].concat());
            }
        });
        Self { url, seen, left }
    }

    fn count(&self) -> usize {
        self.seen.try_iter().count()
    }
}

fn request(stream: &TcpStream) -> String {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap() > 0 {}
    let length = head.lines().find_map(|line| {
        line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok()
    });
    let mut body = vec![0; length.unwrap()];
    reader.read_exact(&mut body).unwrap();
    head + &String::from_utf8(body).unwrap()
}

/// Without what the environment says of endpoints.
fn cogwheel(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cogwheel"));
    for other in ["COGWHEEL_PROMPT_ENHANCER", "COGWHEEL_PROMPT_ENHANCER_MODEL", "OPENAI_API_KEY"] {
        command.env_remove(other);
    }
    command.args(arguments).env("COGWHEEL_PROMPT_ENHANCER_KEY", KEY);
    command
}

/// A short generation of `a red circle` by the demo model or a server.
fn generate(source: &[&str], output: &Path, arguments: &[&str]) -> Output {
    let mut command = cogwheel(&[
        "generate",
        "--num-inference-steps",
        "2",
        "--num-frames",
        "9",
        "--log",
        "debug",
    ]);
    command.args(source).args(arguments).arg("--output").arg(output).output().unwrap()
}

const PROMPT: [&str; 4] = ["--prompt", "a red circle", "--seed", "1"];

#[track_caller]
fn good(output: &Output) -> String {
    let told = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(output.status.success(), "{told}");
    assert!(!told.contains(KEY), "{told}");
    told
}

fn metadata(video: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(format!("{}.json", video.display())).unwrap()).unwrap()
}

fn clips(folder: &tempfile::TempDir) -> [PathBuf; 3] {
    ["a.mp4", "b.mp4", "c.mp4"].map(|name| folder.path().join(name))
}

#[test]
fn a_video_is_made_of_the_longer_prompt_says_both_and_is_made_again_without_the_endpoint() {
    let endpoint = Endpoint::new(Some(200));
    let folder = tempfile::tempdir().unwrap();
    let [enhanced, again, plain] = clips(&folder);
    let demo = demo();
    let model = ["--model", &demo];
    let url = ["--prompt-enhancer", &endpoint.url, "--prompt-enhancer-model", "some-model"];
    let told = good(&generate(&model, &enhanced, &[&PROMPT[..], &url].concat()));
    assert!(told.contains(&format!("prompt, written out: {LONG}")), "{told}");
    let asked = endpoint.seen.recv_timeout(PATIENCE).unwrap();
    assert!(
        asked.starts_with("POST /v1/chat/completions ")
            && asked.contains("\"model\":\"some-model\""),
        "{asked}"
    );
    assert!(asked.contains(&format!("authorization: Bearer {KEY}")), "{asked}");
    assert!(asked.contains("a red circle"), "{asked}");
    let says = metadata(&enhanced);
    assert_eq!((&says["prompt"], &says["enhanced_prompt"]), (&json!("a red circle"), &json!(LONG)));
    // Of that prompt, and of no other.
    good(&generate(&model, &plain, &["--prompt", LONG, "--seed", "1"]));
    assert_eq!(metadata(&plain).get("enhanced_prompt"), None);
    let from = ["--from", enhanced.to_str().unwrap()];
    for arguments in [&from[..], &[&from[..], &url].concat()] {
        good(&generate(&model, &again, arguments));
        assert!(fs::read(&enhanced).unwrap() == fs::read(&again).unwrap());
    }
    assert_eq!(endpoint.count(), 0, "nobody is asked again");
    // Another prompt has nothing to do with the stored one.
    good(&generate(&model, &plain, &[&from[..], &["--prompt", "a blue square"]].concat()));
    assert_eq!(metadata(&plain).get("enhanced_prompt"), None);
}

#[test]
fn the_frames_are_those_of_the_longer_prompt() {
    let endpoint = Endpoint::new(Some(200));
    let folder = tempfile::tempdir().unwrap();
    let frames = |name: &str, arguments: &[&str]| {
        let path = folder.path().join(name);
        good(&generate(&["--model", &demo()], &path, arguments));
        fs::read(path).unwrap()
    };
    let enhanced =
        frames("a.safetensors", &[&PROMPT[..], &["--prompt-enhancer", &endpoint.url]].concat());
    assert!(enhanced == frames("b.safetensors", &["--prompt", LONG, "--seed", "1"]));
    assert!(enhanced != frames("c.safetensors", &PROMPT));
}

#[test]
fn an_endpoint_that_refuses_is_told_and_the_users_prompt_used() {
    let endpoint = Endpoint::new(Some(401));
    let folder = tempfile::tempdir().unwrap();
    let [clip, plain, _] = clips(&folder);
    let demo = demo();
    let model = ["--model", &demo];
    let told = good(&generate(
        &model,
        &clip,
        &[&PROMPT[..], &["--prompt-enhancer", &endpoint.url]].concat(),
    ));
    assert!(
        told.contains(
            "note: the prompt is used as it is, not enhanced: the endpoint answered 401 Unauthorized: it does not accept the key in COGWHEEL_PROMPT_ENHANCER_KEY"
        ),
        "{told}"
    );
    good(&generate(&model, &plain, &PROMPT));
    assert!(fs::read(clip).unwrap() == fs::read(plain).unwrap());
    assert_eq!(endpoint.count(), 1);
}

#[test]
fn nobody_to_ask_is_refused_before_any_work() {
    let folder = tempfile::tempdir().unwrap();
    let [clip, ..] = clips(&folder);
    let refused = |arguments: &[&str], expected: &str| {
        let output = generate(&[], &clip, &[&PROMPT[..], arguments].concat());
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.starts_with("error: ") && told.contains(expected), "{told}");
    };
    let demo = demo();
    refused(
        &["--model", &demo, "--enhance-prompt"],
        "--enhance-prompt: expected a server that enhances prompts",
    );
    let remote = ["--endpoint", "http://127.0.0.1:1"];
    refused(
        &[&remote[..], &["--prompt-enhancer", "http://h"]].concat(),
        "expected with --model only",
    );
    refused(&["--model", &demo, "--prompt-enhancer", "h:1"], "expected a URL such as");
    let user = ["--model", &demo, "--prompt-enhancer", "http://a:b@h"];
    refused(&user, "expected a URL without user and password");
}

#[test]
fn lines_of_a_file_ask_for_it_one_by_one_and_are_not_made_twice() {
    let endpoint = Endpoint::new(Some(200));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("prompts.jsonl");
    let lines = [
        json!({"prompt": "a red circle", "enhance_prompt": true}),
        json!({"prompt": "a blue square"}),
    ];
    fs::write(&file, lines.map(|line| line.to_string()).join("\n")).unwrap();
    let demo = demo();
    let run = || {
        // The machine's endpoint is there for those that ask.
        let mut command = cogwheel(&[
            "generate",
            "--model",
            &demo,
            "--num-inference-steps",
            "1",
            "--num-frames",
            "9",
        ]);
        command.args(["--prompt-file", file.to_str().unwrap(), "--seed", "1", "--output"]);
        good(
            &command
                .arg(folder.path().join("a.gif"))
                .env("COGWHEEL_PROMPT_ENHANCER", &endpoint.url)
                .output()
                .unwrap(),
        )
    };
    run();
    assert_eq!(endpoint.count(), 1);
    assert_eq!(metadata(&folder.path().join("a-1.gif"))["enhanced_prompt"], LONG);
    assert_eq!(metadata(&folder.path().join("a-2.gif")).get("enhanced_prompt"), None);
    assert_eq!(run().matches("is there already").count(), 2);
    assert_eq!(endpoint.count(), 0);
}

#[test]
fn both_sides_of_a_comparison_show_the_same_longer_prompt() {
    let endpoint = Endpoint::new(Some(200));
    let folder = tempfile::tempdir().unwrap();
    let [clip, ..] = clips(&folder);
    let neon = Path::new(&demo()).join("../adapters/neon");
    let with = ["--lora", neon.to_str().unwrap(), "--compare", "--prompt-enhancer", &endpoint.url];
    good(&generate(&["--model", &demo()], &clip, &[&PROMPT[..], &with].concat()));
    assert_eq!(endpoint.count(), 1);
    assert_eq!(metadata(&clip)["enhanced_prompt"], LONG);
}

/// A server of the demo model, and its log.
struct Server {
    process: Child,
    endpoint: String,
    log: Receiver<String>,
}

impl Server {
    fn start(enhancer: &str) -> Self {
        let mut command = cogwheel(&[
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--log-format",
            "json",
            "--log",
            "debug",
        ]);
        command.args(["--model", &demo(), "--prompt-enhancer", enhancer]);
        let mut process = command.stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let (sender, log) = channel();
        std::thread::spawn(move || {
            lines.map_while(Result::ok).for_each(|line| drop(sender.send(line)))
        });
        let listening = log.iter().find(|line| line.contains("\"listening\"")).unwrap();
        let listening: Value = serde_json::from_str(&listening).unwrap();
        let endpoint = format!("http://{}", listening["address"].as_str().unwrap());
        Self { process, endpoint, log }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_server_enhances_for_those_who_ask_and_logs_no_key() {
    let endpoint = Endpoint::new(Some(200));
    let mut server = Server::start(&endpoint.url);
    let folder = tempfile::tempdir().unwrap();
    let [clip, plain, _] = clips(&folder);
    let url = server.endpoint.clone();
    let source = ["--endpoint", &url];
    good(&generate(&source, &plain, &PROMPT));
    assert_eq!((endpoint.count(), metadata(&plain).get("enhanced_prompt")), (0, None));
    let told = good(&generate(&source, &clip, &[&PROMPT[..], &["--enhance-prompt"]].concat()));
    assert!(told.contains(LONG), "{told}");
    assert_eq!((endpoint.count(), &metadata(&clip)["enhanced_prompt"]), (1, &json!(LONG)));
    server.process.kill().unwrap();
    let log: Vec<_> = server.log.iter().collect();
    assert!(log.iter().any(|line| line.contains("prompt enhanced")), "{log:?}");
    assert!(!log.iter().any(|line| line.contains(KEY)), "{log:?}");
}

#[cfg(unix)]
#[test]
fn a_client_that_leaves_ends_the_request_to_the_endpoint() {
    let endpoint = Endpoint::new(None);
    let server = Server::start(&endpoint.url);
    let folder = tempfile::tempdir().unwrap();
    let [clip, ..] = clips(&folder);
    let mut command = cogwheel(&["generate", "--endpoint", &server.endpoint, "--enhance-prompt"]);
    let mut client =
        command.args(PROMPT).arg("--output").arg(&clip).stderr(Stdio::null()).spawn().unwrap();
    endpoint.seen.recv_timeout(PATIENCE).unwrap();
    let interrupt = Command::new("kill").args(["-INT", &client.id().to_string()]).status().unwrap();
    assert!(interrupt.success());
    assert_eq!(client.wait().unwrap().code(), Some(130));
    endpoint.left.recv_timeout(PATIENCE).unwrap();
}
