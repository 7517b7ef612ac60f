//! The process's command line: usage, help and environment.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_cogwheel-orchestrator"))
        .args(args)
        .env_clear()
        .output()
        .unwrap()
}

#[test]
fn bad_usage_is_one_plain_line_and_exit_code_2() {
    for args in [&["--no-such-option"][..], &[], &["--model", "x", "--grace-seconds", "soon"]] {
        let output = run(args);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.starts_with("error: "), "{error}");
        assert_eq!(error.trim_end().lines().count(), 1, "{error}");
    }
}

#[test]
fn every_option_has_an_environment_variable_and_help_says_which() {
    let output = run(&["--help"]);
    assert!(output.status.success());
    let help = String::from_utf8(output.stdout).unwrap();
    let options: Vec<_> = help.split("\n      --").skip(1).collect();
    assert!(options.len() > 5, "{help}");
    // What is done instead of serving is no setting.
    for option in options.iter().filter(|option| !option.starts_with("print-config")) {
        assert!(option.contains("[env: COGWHEEL_"), "--{option}");
    }
}

#[test]
fn bounds_beyond_reason_are_refused_by_their_option() {
    let least = ["--model", "m", "--text-encoder", "http://h:1", "--denoiser", "http://h:2"];
    for (option, value) in [
        ("--max-generations", "0"),
        ("--max-generations", "65537"),
        ("--max-generations", "18446744073709551615"),
        ("--memory-limit", "0"),
        ("--memory-limit", "8G"),
    ] {
        let output = run(&[&least[..], &["--vae", "http://h:3", option, value]].concat());
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.starts_with("error: ") && error.lines().count() == 1, "{error}");
        assert!(error.contains(option), "expected '{option}' in '{error}'");
    }
}

#[test]
fn settings_may_stand_in_a_file_and_are_printed_as_one() {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("orchestrator.toml");
    let file = path.to_str().unwrap();
    fs::write(&path, "model = 'm'\nvae = ['http://h:3']\nmax_generations = 2\n").unwrap();
    let output = run(&["--config", file, "--max-generations", "3", "--print-config"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("\nmax_generations = 3  # flag --max-generations\n"), "{text}");
    assert!(text.contains(&format!("\nvae = [\"http://h:3\"]  # file {file}:2\n")), "{text}");
    // What is missing yet is told when it is to serve.
    let error = String::from_utf8(run(&["--config", file]).stderr).unwrap();
    assert!(error.contains("--text-encoder") && !error.contains("--vae"), "{error}");
    fs::write(&path, "\nmax_generation = 2\n").unwrap();
    let output = run(&["--config", file]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.starts_with(&format!("error: {file}:2: max_generation: ")), "{error}");
    assert!(error.contains("did you mean max_generations?"), "{error}");
}
