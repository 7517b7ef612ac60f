//! What is found before any work: exit code 2, one line, nothing left behind.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn demo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demo/model")
}

fn generate(model: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cogwheel"));
    // Nothing of this gets as far as the runtime, so it must not matter that there is none.
    command.env("ORT_DYLIB_PATH", "/nonexistent");
    command.args(["generate", "--prompt", "a dog", "--model"]).arg(model).args(arguments);
    command.output().unwrap()
}

#[track_caller]
fn refused(output: &Output, expected: &str) {
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    let error = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(error.starts_with("error: ") && error.lines().count() == 1, "{error}");
    assert!(error.contains(expected), "expected '{expected}' in '{error}'");
}

#[test]
fn outputs_that_cannot_be_written_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    for (output, expected) in
        [("clip.avi", ".mp4"), ("missing/clip.mp4", "found nothing"), ("missing/a/", "missing")]
    {
        refused(&generate(&demo(), &["--output", &path(output)]), expected);
    }
    let clip = path("clip.mp4");
    let to_clip = ["--output", &clip, "--output-latents"];
    let latents = |file: &str| generate(&demo(), &[&to_clip[..], &[file]].concat());
    refused(&latents(&path("latents.npy")), "--output-latents");
    refused(&latents(&path("missing/l.safetensors")), "--output-latents");
    let same = path("same.safetensors");
    refused(&generate(&demo(), &["--output", &same, "--output-latents", &same]), "the same");
    let detour = path("./same.safetensors");
    let to_same = ["--output", &same, "--output-latents", &detour];
    refused(&generate(&demo(), &to_same), "the same");
    refused(&generate(&demo(), &[&to_same[..], &["--num-videos", "2"]].concat()), "the same");
    let as_folder = path("same.safetensors/");
    refused(&generate(&demo(), &["--output", &as_folder, "--output-latents", &same]), "the same");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[cfg(unix)]
#[test]
fn one_file_under_two_names_is_refused_for_every_video() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("a-1.safetensors"), "").unwrap();
    std::os::unix::fs::symlink(path("a-1.safetensors"), path("b-1.safetensors")).unwrap();
    let (video, latents) = (path("a.safetensors"), path("b.safetensors"));
    let arguments = ["--num-videos", "2", "--output", &video, "--output-latents", &latents];
    refused(&generate(&demo(), &arguments), "b-1.safetensors");
}

#[test]
fn a_request_that_cannot_be_computed_is_refused_before_anything_is_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let clip = folder.path().join("clip.mp4");
    let clip = clip.to_str().unwrap();
    let cases: [(&[&str], &str); 4] = [
        (&["--width", "65"], "--width: "),
        (&["--fps", "61"], "--fps: "),
        (&["--memory-limit", "1kB"], "the limit is"),
        (&["--execution-provider", "cuda"], "found auto"),
    ];
    for (options, expected) in cases {
        refused(&generate(&demo(), &[&["--output", clip], options].concat()), expected);
    }
    let pictures = folder.path().join("pictures/");
    let to_pictures = ["--output", pictures.to_str().unwrap(), "--width", "3856"];
    refused(&generate(&demo(), &to_pictures), "--output: png cannot have frames of 3856x64");
    // As many videos as the command line takes are none of the violations.
    let many = generate(&demo(), &["--output", clip, "--num-videos", "17", "--fps", "0"]);
    refused(&many, "--fps: ");
    assert!(!String::from_utf8(many.stderr).unwrap().contains("--num-videos"));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn latents_that_cannot_be_used_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let clip = folder.path().join("clip.mp4");
    let file = folder.path().join("latents.safetensors");
    fs::write(&file, "nothing of the sort").unwrap();
    let (clip, file) = (clip.to_str().unwrap(), file.to_str().unwrap());
    refused(&generate(&demo(), &["--output", clip, "--initial-latents", file]), file);
    refused(&generate(&demo(), &["--output", clip, "--initial-latents", "/none"]), "/none");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn checkpoints_that_are_missing_or_cut_short_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let clip = folder.path().join("clip.mp4");
    let arguments = ["--output", clip.to_str().unwrap()];
    refused(&generate(&folder.path().join("missing"), &arguments), "checkpoint folder");
    refused(&generate(folder.path(), &arguments), "model_index.json");

    let copy = folder.path().join("copy");
    copy_folder(&demo(), &copy);
    let weights = copy.join("vae/diffusion_pytorch_model.safetensors");
    let length = fs::metadata(&weights).unwrap().len();
    fs::File::options().write(true).open(&weights).unwrap().set_len(length / 2).unwrap();
    refused(&generate(&copy, &arguments), "diffusion_pytorch_model.safetensors");
    assert!(!clip.exists());
}

#[test]
fn a_port_in_use_is_told_with_the_address() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_cogwheel"));
    command.args(["serve", "--listen", &address, "--model"]).arg(demo());
    refused(&command.output().unwrap(), &format!("cannot listen on {address}"));
}

#[test]
fn a_server_that_is_not_there_ends_with_1() {
    let folder = tempfile::tempdir().unwrap();
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut command = Command::new(env!("CARGO_BIN_EXE_cogwheel"));
    command.args(["generate", "--prompt", "a dog", "--endpoint"]);
    command.arg(format!("http://127.0.0.1:{port}"));
    command.arg("--output").arg(folder.path().join("clip.mp4"));
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("cannot be reached") && error.lines().count() == 1, "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
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
