//! A prompt file: a video for each line, and no work for what is there already.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn demo(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demo").join(path);
    path.to_str().unwrap().to_owned()
}

/// Runs a file of prompts; videos go to `clip.gif` in its folder.
fn run(file: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_cogwheel"))
        .args(["generate", "--model", &demo("model"), "--num-inference-steps", "1"])
        .args(["--num-frames", "9", "--prompt-file", file.to_str().unwrap()])
        .args(["--output", file.with_file_name("clip.gif").to_str().unwrap()])
        .args(arguments)
        .output()
        .unwrap()
}

fn file(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path
}

/// The names of the videos that were made.
#[track_caller]
fn made(output: &Output) -> Vec<String> {
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    names(output)
}

fn names(output: &Output) -> Vec<String> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let name = |line: &str| Path::new(line).file_name().unwrap().to_str().unwrap().to_owned();
    text.lines().map(name).collect()
}

#[track_caller]
fn refused(output: &Output, expected: &str) {
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let error = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(error.lines().last().unwrap().starts_with("error: "), "{error}");
    assert!(error.contains(expected), "expected '{expected}' in '{error}'");
}

#[test]
fn each_line_is_a_video_and_a_second_run_makes_only_what_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let prompts =
        file(folder.path(), "prompts.txt", "a red circle\n\n# not this\r\na blue square\n");
    assert_eq!(made(&run(&prompts, &["--seed", "5"])), ["clip-1.gif", "clip-4.gif"]);
    let json = fs::read_to_string(folder.path().join("clip-4.gif.json")).unwrap();
    assert!(json.contains("\"seed\": 6") && json.contains("a blue square"), "{json}");
    assert!(made(&run(&prompts, &["--seed", "5"])).is_empty(), "all is there");
    fs::remove_file(folder.path().join("clip-1.gif")).unwrap();
    assert_eq!(made(&run(&prompts, &["--seed", "5"])), ["clip-1.gif"]);
    let changed = file(folder.path(), "prompts.txt", "a red circle\n\n\na green square\n");
    assert_eq!(made(&run(&changed, &["--seed", "5"])), ["clip-4.gif"], "another prompt");
    assert_eq!(made(&run(&changed, &["--seed", "6"])).len(), 2, "other seeds");
}

#[test]
fn a_line_of_json_has_settings_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let text = r#"{"prompt": "a red circle", "seed": 3, "fps": 4, "adapters": [{"name": "neon", "scale": 0.5}]}
{"prompt": "a blue square", "num_frames": 17, "guidance_scale": 2.5}"#;
    let prompts = file(folder.path(), "prompts.jsonl", text);
    let lora = format!("{},name=neon", demo("adapters/neon"));
    assert_eq!(made(&run(&prompts, &["--lora", &lora])), ["clip-1.gif", "clip-2.gif"]);
    let json = |line: u32| {
        let path = folder.path().join(format!("clip-{line}.gif.json"));
        serde_json::from_str::<serde_json::Value>(&fs::read_to_string(path).unwrap()).unwrap()
    };
    let (first, second) = (json(1), json(2));
    assert_eq!(
        (&first["seed"], &first["fps"], &first["num_frames"]),
        (&3.into(), &4.into(), &9.into())
    );
    assert_eq!(first["adapters"][0]["scale"], 0.5);
    assert_eq!((&second["num_frames"], &second["guidance_scale"]), (&17.into(), &2.5.into()));
    assert_eq!(second["adapters"][0]["scale"], 1.0, "what the command line says");
}

#[test]
fn a_broken_line_is_told_by_its_number_and_the_others_are_made_only_where_that_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let text = "{\"prompt\": \"a\"}\n{\"prompt\": 1}\n{\"promt\": \"a\"}\nnonsense\n{\"prompt\": \"b\", \"width\": 65}\n";
    let prompts = file(folder.path(), "prompts.jsonl", text);
    let ended = run(&prompts, &[]);
    for line in ["line 2: ", "line 3: ", "line 4: ", "unknown field `promt`"] {
        refused(&ended, line);
    }
    assert!(names(&ended).is_empty());
    let ended = run(&prompts, &["--skip-broken-lines"]);
    refused(&ended, "4 broken lines were left out");
    refused(&ended, "line 5: --width");
    assert_eq!(names(&ended), ["clip-1.gif"]);
}

#[test]
fn a_file_of_no_prompts_and_what_does_not_go_together_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    refused(&run(&file(folder.path(), "none.txt", "# nothing\n\n"), &[]), "found 0");
    refused(&run(&folder.path().join("gone.txt"), &[]), "No such file");
    refused(&run(&file(folder.path(), "bytes.txt", "\u{0}"), &["--prompt", "x"]), "--prompt");
    let many = file(folder.path(), "many.txt", &"x\n".repeat(10_001));
    refused(&run(&many, &[]), "found 10001");
    let bytes = folder.path().join("latin.txt");
    fs::write(&bytes, [0xe4, b'\n']).unwrap();
    refused(&run(&bytes, &[]), "UTF-8");
}

#[test]
fn a_damaged_video_and_one_of_another_request_are_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let prompts = file(folder.path(), "prompts.txt", "a red circle\na blue square\n");
    let all = ["clip-1.gif", "clip-2.gif"];
    assert_eq!(made(&run(&prompts, &["--seed", "5"])), all);
    let clip = folder.path().join("clip-2.gif");
    let whole = fs::read(&clip).unwrap();
    fs::write(&clip, &whole[..100]).unwrap();
    assert_eq!(made(&run(&prompts, &["--seed", "5"])), ["clip-2.gif"]);
    assert!(fs::read(&clip).unwrap() == whole);
    let latents = folder.path().join("end.safetensors");
    let with_latents = ["--seed", "5", "--output-latents", latents.to_str().unwrap()];
    let names = made(&run(&prompts, &with_latents));
    assert_eq!(names, ["end-1.safetensors", "clip-1.gif", "end-2.safetensors", "clip-2.gif"]);
    assert!(made(&run(&prompts, &with_latents)).is_empty());
    // Other noise is another request.
    let noise = folder.path().join("end-1.safetensors");
    let from_noise = ["--seed", "5", "--initial-latents", noise.to_str().unwrap()];
    assert_eq!(made(&run(&prompts, &from_noise)), all);
    assert!(made(&run(&prompts, &from_noise)).is_empty());
}

#[test]
fn a_line_that_fails_while_it_is_made_is_named_and_leaves_the_others_alone() {
    let folder = tempfile::tempdir().unwrap();
    let lines =
        "{\"prompt\": \"a\"}\n{\"prompt\": \"b\", \"guidance_scale\": 1e39}\n{\"prompt\": \"c\"}\n";
    let prompts = file(folder.path(), "prompts.jsonl", lines);
    let ended = run(&prompts, &["--seed", "5"]);
    assert_eq!(names(&ended), ["clip-1.gif"]);
    let error = String::from_utf8(ended.stderr).unwrap();
    assert!(error.lines().last().unwrap().starts_with("error: line 2: "), "{error}");
    let ended = run(&prompts, &["--seed", "5", "--skip-broken-lines"]);
    assert_eq!(names(&ended), ["clip-3.gif"]);
    refused(&ended, "1 broken lines were left out");
}

#[test]
fn lines_that_are_no_text_or_no_object_are_told_by_their_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("prompts.txt");
    fs::write(&path, b"\xef\xbb\xbfa red circle\ncaf\xe9\n").unwrap();
    refused(&run(&path, &[]), "line 2: expected UTF-8");
    let ended = run(&path, &["--skip-broken-lines"]);
    assert_eq!(names(&ended), ["clip-1.gif"]);
    let array = "[\"a\", \"b\", 64, 64, 9, 8, 1, 3.0, \"dpm\", true, 5, []]\n{\"prompt\": 5}\n";
    let prompts = file(folder.path(), "prompts.jsonl", array);
    let ended = run(&prompts, &[]);
    refused(&ended, "line 1: expected an object");
    refused(
        &ended,
        "line 2: expected an object with a prompt and options by their names, found '{\"prompt\": 5}'",
    );
    assert!(!String::from_utf8(ended.stderr).unwrap().contains("column"));
}
