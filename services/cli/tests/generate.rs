//! From a prompt to files with the demo model, in this process's own chain and over a server.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod common;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Output, Stdio};

use common::names;
use safetensors::SafeTensors;

fn demo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demo/model")
}

fn cogwheel(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cogwheel"));
    command.args(arguments);
    command
}

/// A short generation: two steps, nine frames.
fn short(output: &Path) -> Command {
    let mut command = cogwheel(&["generate", "--prompt", "a red circle", "--seed", "1"]);
    command.args(["--num-inference-steps", "2", "--num-frames", "9"]).arg("--output").arg(output);
    command
}

fn local(output: &Path) -> Command {
    let mut command = short(output);
    command.arg("--model").arg(demo());
    command
}

/// The paths that were printed.
#[track_caller]
fn made(output: Output) -> Vec<PathBuf> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(PathBuf::from).collect()
}

#[test]
fn every_kind_of_output_is_made_and_printed() {
    let folder = tempfile::tempdir().unwrap();
    let clip = folder.path().join("clip.mp4");
    assert_eq!(made(local(&clip).output().unwrap()), std::slice::from_ref(&clip));
    assert_eq!(&fs::read(&clip).unwrap()[4..8], b"ftyp");

    let clip = folder.path().join("clip.gif");
    assert_eq!(made(local(&clip).output().unwrap()), std::slice::from_ref(&clip));
    assert_eq!(&fs::read(&clip).unwrap()[..6], b"GIF89a");

    let pictures = folder.path().join("pictures/");
    assert_eq!(made(local(&pictures).output().unwrap()), std::slice::from_ref(&pictures));
    assert_eq!(names(&pictures).len(), 9 + 1, "nine pictures and what they were made of");
    assert_eq!(&fs::read(pictures.join("00008.png")).unwrap()[..4], b"\x89PNG");
    assert_eq!(
        names(folder.path()),
        ["clip.gif", "clip.gif.json", "clip.mp4", "clip.mp4.json", "pictures"]
    );
}

/// Frames of a short generation as they were decoded, and what was told.
fn decoded(options: &[&str]) -> (Vec<f32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip.safetensors");
    let output = local(&path).args(options).output().unwrap();
    let told = String::from_utf8(output.stderr.clone()).unwrap();
    made(output);
    let file = fs::read(&path).unwrap();
    let tensors = SafeTensors::deserialize(&file).unwrap();
    let frames = tensors.tensor("frames").unwrap();
    assert_eq!(frames.shape(), [9, 64, 64, 3]);
    let values = frames.data().chunks_exact(4);
    (values.map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect(), told)
}

#[test]
fn frames_are_decoded_in_tiles_where_asked_to_or_where_memory_calls_for_it() {
    let (whole, told) = decoded(&["--vae-tiling", "auto"]);
    assert!(!told.contains("tile"), "{told}");
    let (tiled, told) = decoded(&["--vae-tiling", "on"]);
    // 8 latents a side, tiles of 4 that share 1.
    for line in ["decoded tile 0 of 9", "decoded tile 9 of 9, ", "decoded frame 9 of 9"] {
        assert!(told.contains(line), "{told}");
    }
    assert!(!told.contains("note: decoding"), "{told}");
    let errors = whole.iter().zip(&tiled).map(|(a, b)| f64::from(a - b).powi(2));
    let decibels = -10.0 * (errors.sum::<f64>() / whole.len() as f64).log10();
    assert!(whole != tiled && decibels > 20.0, "{decibels} dB");
    // Whole frames would take 47 MB.
    let (small, told) = decoded(&["--memory-limit", "36MB"]);
    assert!(told.contains("note: decoding in tiles: decoding whole frames needs about"), "{told}");
    assert!(small == tiled);
    let folder = tempfile::tempdir().unwrap();
    let options = ["--memory-limit", "36MB", "--vae-tiling", "off"];
    let refused = local(&folder.path().join("clip.mp4")).args(options).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    let error = String::from_utf8(refused.stderr).unwrap();
    assert!(error.contains("memory, the limit is 36.0 MB"), "{error}");
}

#[test]
fn several_videos_and_their_latents_are_numbered_and_differ() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = local(&folder.path().join("clip.safetensors"));
    command.args(["--num-videos", "2", "--output-latents"]);
    let paths = made(command.arg(folder.path().join("end.safetensors")).output().unwrap());
    let expected =
        ["end-0.safetensors", "clip-0.safetensors", "end-1.safetensors", "clip-1.safetensors"];
    assert_eq!(paths, expected.map(|name| folder.path().join(name)));
    let files: Vec<_> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
    assert_ne!(files[1], files[3]);
    let frames = SafeTensors::deserialize(&files[1]).unwrap();
    assert_eq!(frames.tensor("frames").unwrap().shape(), [9, 64, 64, 3]);
    let latents = SafeTensors::deserialize(&files[0]).unwrap();
    assert_eq!(latents.tensor("latents").unwrap().shape(), [3, 16, 8, 8]);
}

#[test]
fn every_violation_is_told_by_its_option_before_anything_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = local(&folder.path().join("clip.mp4"));
    let output = command.args(["--width", "65", "--fps", "500"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.starts_with("error: ") && error.lines().count() == 1, "{error}");
    assert!(error.contains("--width"), "{error}");
    assert!(names(folder.path()).is_empty());
}

#[test]
fn too_little_memory_is_refused_and_a_little_less_than_for_all_is_enough() {
    let folder = tempfile::tempdir().unwrap();
    let clip = folder.path().join("clip.mp4");
    let model = demo();
    let show = cogwheel(&["models", "show", "--json"]).arg(&model).output().unwrap();
    let shown: serde_json::Value = serde_json::from_slice(&show.stdout).unwrap();
    let memory = &shown["memory"][0];
    let bytes = |what: &str| memory[what].as_u64().unwrap();
    // At the default size, which is what `models show` tells.
    let with = |limit: u64| {
        let mut command = cogwheel(&["generate", "--prompt", "a red circle", "--log", "info"]);
        command.args(["--num-inference-steps", "1", "--memory-limit", &limit.to_string()]);
        command.arg("--output").arg(&clip).arg("--model").arg(&model).output().unwrap()
    };
    let refused = with(bytes("one_by_one_in_tiles") - 1);
    assert_eq!(refused.status.code(), Some(2));
    assert!(!clip.exists());

    let is_one_by_one =
        |output: &Output| String::from_utf8_lossy(&output.stderr).contains("one at a time");
    let tight = with(bytes("together") - 1);
    assert!(is_one_by_one(&tight), "{tight:?}");
    made(tight);
    let ample = with(bytes("together"));
    assert!(!is_one_by_one(&ample), "{ample:?}");
    made(ample);
}

#[test]
fn a_model_that_cannot_be_loaded_is_told_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    copy_folder(&demo(), &model);
    fs::write(model.join("tokenizer/spiece.model"), "no vocabulary").unwrap();
    fs::remove_file(model.join("tokenizer/tokenizer.json")).unwrap();
    let mut command = short(&folder.path().join("clip.mp4"));
    let output = command.arg("--model").arg(&model).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let error = String::from_utf8(output.stderr).unwrap();
    // Beside the progress there is nothing: no log line says it again.
    let lines: Vec<_> = error.lines().filter(|line| line.contains("spiece.model")).collect();
    assert!(lines.len() == 1 && lines[0].starts_with("error: "), "{error}");
    assert!(!error.contains("ERROR") && !error.contains('\u{1b}'), "{error}");
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[cfg(unix)]
#[test]
fn an_interrupt_ends_with_130_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = cogwheel(&["generate", "--prompt", "a red circle", "--model"]);
    command.arg(demo()).args(["--num-inference-steps", "1000", "--output"]);
    command.arg(folder.path().join("frames/")).arg("--output-latents");
    command.arg(folder.path().join("end.safetensors"));
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut errors = BufReader::new(child.stderr.take().unwrap());
    wait_for(&mut errors, "step 1 of 1000");
    signal(&child, "-INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let last = errors.lines().last().unwrap().unwrap();
    assert_eq!(last, "error: interrupted");
    assert!(names(folder.path()).is_empty());
}

#[cfg(unix)]
#[test]
fn a_server_makes_the_same_bytes_and_drains_when_it_is_told_to_end() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = cogwheel(&["serve", "--listen", "127.0.0.1:0", "--log-format", "json"]);
    let mut server = command.arg("--model").arg(demo()).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(server.stderr.take().unwrap());
    let line = wait_for(&mut log, "\"listening\"");
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    let endpoint = format!("http://{}", line["address"].as_str().unwrap());
    // A full pipe would stop the server.
    let drain = std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));

    let (ours, theirs) = (folder.path().join("ours.mp4"), folder.path().join("theirs.mp4"));
    made(short(&theirs).args(["--endpoint", &endpoint]).output().unwrap());
    made(local(&ours).output().unwrap());
    assert!(fs::read(&ours).unwrap() == fs::read(&theirs).unwrap());

    signal(&server, "-TERM");
    assert_eq!(server.wait().unwrap().code(), Some(0));
    drain.join().unwrap().unwrap();
}

/// The next line that holds `text`.
fn wait_for(lines: &mut BufReader<ChildStderr>, text: &str) -> String {
    let mut line = String::new();
    while lines.read_line(&mut line).unwrap() > 0 {
        if line.contains(text) {
            return line;
        }
        line.clear();
    }
    panic!("expected a line with {text}");
}

#[cfg(unix)]
fn signal(child: &Child, signal: &str) {
    assert!(
        Command::new("kill").arg(signal).arg(child.id().to_string()).status().unwrap().success()
    );
}
