//! `cogwheel doctor` and `cogwheel completions`.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

fn cogwheel(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_cogwheel")).args(arguments).output().unwrap()
}

fn demo() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demo/model").to_str().unwrap().to_owned()
}

/// The line about a subject.
fn line<'t>(text: &'t str, subject: &str) -> &'t str {
    text.lines().find(|line| line.split_whitespace().nth(1) == Some(subject)).unwrap()
}

#[test]
fn a_sound_machine_and_checkpoint_are_told_so() {
    let output = cogwheel(&["doctor", "--model", &demo(), "--listen", "127.0.0.1:0"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    for subject in ["runtime", "checkpoint", "weights", "digests", "room", "port"] {
        assert!(line(&text, subject).starts_with("ok"), "{text}");
    }
    for subject in ["processor", "cuda", "memory"] {
        assert!(!line(&text, subject).starts_with("BAD"), "{text}");
    }
}

#[test]
fn what_would_not_work_is_told_with_what_to_do_and_ends_with_2() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_cogwheel"))
        .args(["doctor", "--model", &demo(), "--listen", &address, "--memory-limit", "1MB"])
        .env("ORT_DYLIB_PATH", "/nowhere/libonnxruntime.so")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stdout).unwrap();
    for (subject, advice) in
        [("runtime", "make setup"), ("port", "--listen"), ("room", "--num-frames")]
    {
        let line = line(&text, subject);
        assert!(line.starts_with("BAD") && line.contains(advice), "{text}");
    }
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(error, "error: 3 things would keep a server from working\n");
    let folder = tempfile::tempdir().unwrap();
    let nothing = cogwheel(&[
        "doctor",
        "--listen",
        "127.0.0.1:0",
        "--model",
        folder.path().to_str().unwrap(),
    ]);
    assert_eq!(nothing.status.code(), Some(2));
    let text = String::from_utf8(nothing.stdout).unwrap();
    assert!(line(&text, "checkpoint").starts_with("BAD"), "{text}");
}

#[test]
fn every_shell_gets_a_script_that_knows_the_commands() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let output = cogwheel(&["completions", shell]);
        assert!(output.status.success(), "{shell}");
        let script = String::from_utf8(output.stdout).unwrap();
        for word in ["generate", "serve", "adapters", "doctor", "num-inference-steps"] {
            assert!(script.contains(word), "{shell} lacks {word}");
        }
    }
    let unknown = cogwheel(&["completions", "tcsh"]);
    assert_eq!(unknown.status.code(), Some(2));
}

#[test]
fn a_demo_folder_with_a_missing_or_altered_file_is_told_with_the_digest() {
    let folder = tempfile::tempdir().unwrap();
    let sums = Path::new(&demo()).join("B3SUMS");
    for line in std::fs::read_to_string(&sums).unwrap().lines() {
        let name = line.split_once("  ").unwrap().1;
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::copy(Path::new(&demo()).join(name), path).unwrap();
    }
    std::fs::copy(&sums, folder.path().join("B3SUMS")).unwrap();
    let model = folder.path().to_str().unwrap();
    let config = folder.path().join("scheduler/scheduler_config.json");
    let digests = || {
        let output = cogwheel(&["doctor", "--model", model, "--listen", "127.0.0.1:0"]);
        let text = String::from_utf8(output.stdout).unwrap();
        (output.status.code(), line(&text, "digests").to_owned())
    };
    let (code, told) = digests();
    assert!(code == Some(0) && told.starts_with("ok"), "{told}");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text + "\n").unwrap();
    let (code, told) = digests();
    assert!(code == Some(2) && told.starts_with("BAD"), "{told}");
    assert!(told.contains("scheduler_config.json: altered; expected digest "), "{told}");
    let spare = folder.path().join("tokenizer/spiece.model");
    std::fs::copy(Path::new(&demo()).join("scheduler/scheduler_config.json"), &config).unwrap();
    std::fs::remove_file(spare).unwrap();
    let (_, told) = digests();
    assert!(told.contains("spiece.model: missing; expected a file with digest "), "{told}");
}
