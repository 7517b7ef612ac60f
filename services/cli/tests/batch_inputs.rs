//! A `.jsonl` prompt file whose lines bring images and videos of their own.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

const DEMO: &str = "demo/model";
const IMAGE: &str = "tests/data/checkpoints/image";

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// Runs lines; videos go to `clip.gif` in the folder, which paths in them are relative to.
fn run(model: &str, folder: &Path, lines: &[Value], arguments: &[&str]) -> Output {
    let file = folder.join("lines.jsonl");
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    fs::write(&file, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_cogwheel"));
    command.args(["generate", "--num-inference-steps", "4", "--num-frames", "9", "--model"]);
    command.arg(root(model)).args(["--seed", "5", "--output", "clip.gif", "--prompt-file"]);
    command.arg(file).args(arguments).current_dir(folder).output().unwrap()
}

#[track_caller]
fn made(output: Output) -> (String, String) {
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{told}");
    (String::from_utf8(output.stdout).unwrap(), told)
}

#[track_caller]
fn refused(output: Output, expected: &str) {
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains(expected), "expected '{expected}' in '{told}'");
    assert_eq!(output.stdout, b"", "nothing is made");
}

/// A PNG file of one colour.
fn picture(path: &Path, colour: u8) {
    let mut encoder = png::Encoder::new(fs::File::create(path).unwrap(), 64, 48);
    encoder.set_color(png::ColorType::Rgb);
    encoder.write_header().unwrap().write_image_data(&[colour; 64 * 48 * 3]).unwrap();
}

fn metadata(folder: &Path, line: u32) -> Value {
    let path = folder.join(format!("clip-{line}.gif.json"));
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn lines_start_from_images_of_their_own_and_are_made_again_when_those_change() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path();
    for (name, colour) in [("a.png", 10), ("b.png", 200), ("all.png", 90)] {
        picture(&folder.join(name), colour);
    }
    let lines = [
        json!({"prompt": "a red circle", "image": "a.png"}),
        json!({"prompt": "a red circle", "image": "b.png"}),
        json!({"prompt": "a red circle"}),
    ];
    let image = ["--image", "all.png"];
    let (names, _) = made(run(IMAGE, folder, &lines, &image));
    assert_eq!(names, "clip-1.gif\nclip-2.gif\nclip-3.gif\n");
    let of = |line| metadata(folder, line)["image"].clone();
    assert!(of(1).is_string() && of(1) != of(2) && of(2) != of(3));
    // What one line brings is what a command of its own would.
    let mut command = Command::new(env!("CARGO_BIN_EXE_cogwheel"));
    command.args(["generate", "--num-inference-steps", "4", "--num-frames", "9", "--model"]);
    command.arg(root(IMAGE)).args(["--seed", "6", "--output", "one.gif", "--image", "b.png"]);
    command.args(["--prompt", "a red circle"]).current_dir(folder);
    made(command.output().unwrap());
    let read = |name: &str| fs::read(folder.join(name)).unwrap();
    assert!(read("one.gif") == read("clip-2.gif"));
    assert_eq!(made(run(IMAGE, folder, &lines, &image)).0, "", "all are there");
    picture(&folder.join("a.png"), 11);
    assert_eq!(made(run(IMAGE, folder, &lines, &image)).0, "clip-1.gif\n");
}

#[test]
fn lines_are_made_of_videos_of_their_own_with_strengths_of_their_own() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path();
    let frames = folder.join("frames");
    fs::create_dir(&frames).unwrap();
    (0..12).for_each(|at| picture(&frames.join(format!("{at}.png")), at * 20));
    let lines = [
        json!({"prompt": "a red circle", "video": "frames", "strength": 0.5}),
        json!({"prompt": "a red circle", "video": "frames"}),
    ];
    let (names, told) = made(run(DEMO, folder, &lines, &["--strength", "0.25"]));
    assert_eq!(names, "clip-1.gif\nclip-2.gif\n");
    assert!(told.contains("line 1: of the video's 12 pictures the first 9 are read"), "{told}");
    let strength = |line| metadata(folder, line)["strength"].clone();
    assert_eq!((strength(1), strength(2)), (json!(0.5), json!(0.25)));
    assert_eq!(made(run(DEMO, folder, &lines, &["--strength", "0.25"])).0, "");
}

#[test]
fn what_a_line_brings_is_looked_at_before_the_first_is_made() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path();
    picture(&folder.join("a.png"), 10);
    let frames = folder.join("frames");
    fs::create_dir(&frames).unwrap();
    (0..9).for_each(|at| picture(&frames.join(format!("{at}.png")), at * 20));
    fs::write(frames.join("0.png"), "broken").unwrap();
    let good = json!({"prompt": "a"});
    let check = |model: &str, line: Value, arguments: &[&str], expected: &str| {
        refused(run(model, folder, &[good.clone(), line], arguments), expected);
    };
    let missing = json!({"prompt": "a", "image": "gone.png"});
    check(IMAGE, missing, &["--image", "a.png"], "error: line 2: --image gone.png: ");
    let broken = json!({"prompt": "a", "video": "frames"});
    let first = Path::new("frames").join("0.png");
    check(DEMO, broken.clone(), &[], &format!("error: line 2: --video {}: ", first.display()));
    let unwanted = json!({"prompt": "a", "image": "a.png"});
    check(DEMO, unwanted, &[], "error: line 2: --image: expected none");
    let without = json!({"prompt": "a", "strength": 0.5});
    check(DEMO, without, &[], "error: line 2: --strength: expected none without a video");
    let number = json!({"prompt": "a", "image": 7});
    check(DEMO, number, &[], "line 2: expected an object with a prompt");
    // A line alone, where others can be made.
    let lines = [good, json!({"prompt": "a", "image": "a.png"})];
    let output = run(DEMO, folder, &lines, &["--skip-broken-lines"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(output.stdout, b"clip-1.gif\n");
    // A picture further on is read when the line's turn comes.
    picture(&frames.join("0.png"), 0);
    fs::write(frames.join("5.png"), "broken").unwrap();
    let output = run(DEMO, folder, &[broken], &[]);
    let further = Path::new("frames").join("5.png");
    refused(output, &format!("error: line 1: --video {}: ", further.display()));
}
