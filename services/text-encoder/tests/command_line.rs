//! The process's command line: usage, help and environment.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::process::{Command, Output};

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_cogwheel-text-encoder"))
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
