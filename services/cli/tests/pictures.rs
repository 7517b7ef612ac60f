//! `--output FOLDER/`: a PNG file a frame, in a folder that may hold others.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use common::names;

/// A video of so many frames as pictures.
fn generate(folder: &Path, num_frames: &str, arguments: &[&str]) -> Output {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demo");
    let mut command = Command::new(env!("CARGO_BIN_EXE_cogwheel"));
    command.args(["generate", "--prompt", "a red circle", "--num-inference-steps", "1"]);
    command.args(["--seed", "1", "--num-frames", num_frames, "--model"]).arg(demo.join("model"));
    command.arg("--output").arg(folder).args(arguments).output().unwrap()
}

#[track_caller]
fn made(output: Output) -> String {
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}");
    told
}

#[test]
fn a_shorter_video_leaves_nothing_of_a_longer_one_and_everything_else() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("frames");
    fs::create_dir(&folder).unwrap();
    for other in ["notes.txt", "17.png", "a.png", "00017.jpg"] {
        fs::write(folder.join(other), other).unwrap();
    }
    made(generate(&folder, "17", &[]));
    assert_eq!(names(&folder).len(), 4 + 17 + 1);
    let told = made(generate(&folder, "9", &[]));
    assert!(told.contains("of which the last 8 pictures go with the others"), "{told}");
    let mut expected: Vec<_> = (0..9).map(|number| format!("{number:05}.png")).collect();
    expected.extend(["00017.jpg", "17.png", "a.png", "cogwheel.json", "notes.txt"].map(Into::into));
    assert_eq!(names(&folder), expected);
    // And so it is one that is made again.
    let again = parent.path().join("again");
    fs::create_dir(&again).unwrap();
    made(generate(&again, "9", &["--from", folder.to_str().unwrap()]));
    for number in 0..9 {
        let name = format!("{number:05}.png");
        assert_eq!(fs::read(again.join(&name)).unwrap(), fs::read(folder.join(name)).unwrap());
    }
    // Not of another length.
    let told = made(generate(&folder, "17", &[]));
    assert!(!told.contains("pictures go"), "{told}");
}

#[test]
fn pictures_of_unknown_origin_behind_the_new_ones_are_refused_before_any_work_and_stay() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("frames");
    fs::create_dir(&folder).unwrap();
    made(generate(&folder, "9", &[]));
    fs::write(folder.join("00012.png"), "mine").unwrap();
    let refused = |arguments: &[&str]| {
        let output = generate(&folder, "9", arguments);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{told}");
        let expected = format!(
            "error: --output {}: expected no pictures behind 00008.png but those that cogwheel.json there says this program made, found 00012.png\n",
            folder.display()
        );
        assert_eq!(told, expected);
    };
    refused(&[]);
    let lora = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demo/adapters/neon");
    refused(&["--lora", lora.to_str().unwrap(), "--compare"]);
    assert_eq!(names(&folder).len(), 9 + 2);
    assert_eq!(fs::read(folder.join("00012.png")).unwrap(), b"mine");
    // As any file of a name that is written.
    made(generate(&folder, "17", &[]));
    assert_eq!(names(&folder).len(), 17 + 1);
}

#[test]
fn a_length_that_only_the_model_knows_is_held_against_the_folder_too() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("frames");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("00017.png"), "mine").unwrap();
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demo");
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cogwheel"));
        command.args(["generate", "--prompt", "a red circle", "--model"]).arg(demo.join("model"));
        command.arg("--output").arg(&folder).args(arguments);
        let output = command.output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.contains("no pictures behind 00016.png but"), "{told}");
        assert!(!told.contains("step 1"), "{told}");
    };
    run(&[]);
    let lora = demo.join("adapters/neon");
    run(&["--lora", lora.to_str().unwrap(), "--compare"]);
}
