//! `--image` and `--video`: what a video is made from beside its prompt.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use cogwheel_orchestrator::VideoMetadata;

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// Makes a short video with a model of images, or with the demo's.
fn generate(model: &str, output: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cogwheel"));
    command.args(["generate", "--prompt", "a red circle moving left", "--seed", "7"]);
    command.args(["--num-frames", "9", "--num-inference-steps", "4", "--model"]);
    command.arg(root(model)).arg("--output").arg(output).args(arguments).output().unwrap()
}

#[track_caller]
fn made(output: Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{errors}");
    errors
}

#[track_caller]
fn refused(output: Output, expected: &str) {
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.starts_with("error: ") && error.lines().count() == 1, "{error}");
    assert!(error.contains(expected), "expected '{expected}' in '{error}'");
}

const DEMO: &str = "demo/model";
const IMAGE: &str = "tests/data/checkpoints/image";

fn picture(name: &str) -> String {
    root("tests/data/inputs/pictures").join(name).to_str().unwrap().to_owned()
}

#[test]
fn a_clip_of_ours_becomes_another_from_every_kind_of_file() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for clip in ["clip.mp4", "clip.gif", "clip/"] {
        fs::create_dir_all(at("clip")).unwrap();
        made(generate(DEMO, &at(clip), &[]));
        let (from, output) = (at(clip), at("new.safetensors"));
        let from = from.to_str().unwrap();
        let told = made(generate(DEMO, &output, &["--video", from, "--strength", "0.5"]));
        assert!(told.contains("step 2 of 2"), "half of the steps are taken: {told}");
        assert!(told.contains("encoded frame 9 of 9"), "{told}");
        let one_step = made(generate(DEMO, &output, &["--video", from, "--strength", "0.25"]));
        assert!(one_step.contains("step 1 of 1"), "{one_step}");
    }
}

#[test]
fn an_image_is_told_of_and_wanted_again_to_make_the_video_again() {
    let folder = tempfile::tempdir().unwrap();
    let (first, again) = (folder.path().join("a.mp4"), folder.path().join("b.mp4"));
    let image = folder.path().join("image.png");
    fs::write(&image, picture_of(200, 100)).unwrap();
    let image = image.to_str().unwrap();
    let told = made(generate(IMAGE, &first, &["--image", image]));
    let expected =
        "note: the image is resized from 200x100 to 64x48, which changes their proportions";
    assert!(told.contains(expected), "{told}");
    let metadata: VideoMetadata =
        serde_json::from_slice(&fs::read(folder.path().join("a.mp4.json")).unwrap()).unwrap();
    assert_eq!(metadata.digests.image.as_ref().map(String::len), Some(64));
    let from = ["--from", first.to_str().unwrap()];
    refused(generate(IMAGE, &again, &from), "expected --image with digest");
    made(generate(IMAGE, &again, &[&from[..], &["--image", image]].concat()));
    assert_eq!(fs::read(&first).unwrap(), fs::read(&again).unwrap());
}

#[test]
fn a_video_made_of_a_folder_is_made_again_from_the_pictures_that_were_used() {
    let folder = tempfile::tempdir().unwrap();
    let pictures = folder.path().join("pictures");
    fs::create_dir(&pictures).unwrap();
    // More than the 17 frames of the demo's videos.
    (0..20)
        .for_each(|at| fs::write(pictures.join(format!("{at}.png")), picture_of(64, 64)).unwrap());
    let (first, again) = (folder.path().join("a.mp4"), folder.path().join("b.mp4"));
    let video = ["--video", pictures.to_str().unwrap()];
    let run = |output: &Path, arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cogwheel"));
        command.args(["generate", "--num-inference-steps", "2", "--model"]).arg(root(DEMO));
        command.args(video).arg("--output").arg(output).args(arguments).output().unwrap()
    };
    // Of another system; no picture at all.
    fs::write(pictures.join("._00.png"), "\0\u{5}\u{16}\u{7}").unwrap();
    let told = made(run(&first, &["--prompt", "a red circle", "--seed", "7"]));
    assert!(told.contains("note: of the video's 20 pictures the first 17 are read"), "{told}");
    // One that was not used is no part of it.
    fs::write(pictures.join("19.png"), picture_of(32, 32)).unwrap();
    let from = ["--from", first.to_str().unwrap()];
    made(run(&again, &from));
    assert_eq!(fs::read(&first).unwrap(), fs::read(&again).unwrap());
    fs::write(pictures.join("3.png"), picture_of(64, 32)).unwrap();
    refused(run(&again, &from), "expected --video with digest");
    // Lines may ask for other numbers of frames.
    let lines = folder.path().join("lines.jsonl");
    let line = r#"{"prompt": "a red circle", "num_frames": 17}"#;
    fs::write(&lines, line).unwrap();
    let batch = ["--num-frames", "9", "--prompt-file", lines.to_str().unwrap(), "--seed", "1"];
    let output = folder.path().join("c.gif");
    made(run(&output, &batch));
    assert!(made(run(&output, &batch)).contains("c-1.gif is there already"));
}

/// A PNG file of that size.
fn picture_of(width: u32, height: u32) -> Vec<u8> {
    let pixels: Vec<u8> = (0..width * height * 3).map(|at| (at * 7 % 251) as u8).collect();
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
    file
}

#[test]
fn each_of_several_videos_draws_its_images_latents_with_its_own_seed() {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("image.png");
    fs::write(&image, picture_of(64, 48)).unwrap();
    let image = image.to_str().unwrap();
    let latents = |name: &str, arguments: &[&str]| {
        let path = folder.path().join(name);
        let output = folder.path().join("out.safetensors");
        let all = [&["--image", image, "--output-latents", path.to_str().unwrap()], arguments];
        made(generate(IMAGE, &output, &all.concat()));
    };
    latents("two.safetensors", &["--num-videos", "2"]);
    let read = |name: &str| fs::read(folder.path().join(name)).unwrap();
    assert_ne!(read("two-0.safetensors"), read("two-1.safetensors"));
    // Seed 7 is stated.
    latents("one.safetensors", &[]);
    assert_eq!(read("one.safetensors"), read("two-0.safetensors"));
    let path = folder.path().join("next.safetensors");
    let mut command = Command::new(env!("CARGO_BIN_EXE_cogwheel"));
    command.args(["generate", "--prompt", "a red circle moving left", "--seed", "8"]);
    command.args(["--num-frames", "9", "--num-inference-steps", "4", "--image", image, "--model"]);
    command.arg(root(IMAGE)).arg("--output-latents").arg(&path);
    made(command.arg("--output").arg(folder.path().join("out.gif")).output().unwrap());
    assert_eq!(read("next.safetensors"), read("two-1.safetensors"));
}

#[test]
fn what_cannot_be_used_is_refused_before_anything_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("o.mp4");
    let check = |model: &str, arguments: &[&str], expected: &str| {
        refused(generate(model, &output, arguments), expected);
        assert!(!output.exists());
    };
    check(IMAGE, &[], "--image: expected an image to start from, found none");
    check(DEMO, &["--image", &picture("rgb.png")], "--image: expected none");
    check(DEMO, &["--video", folder.path().to_str().unwrap()], "expected a folder with pictures");
    check(DEMO, &["--video", &picture("rgb.png")], "--video: expected");
    check(DEMO, &["--video", "missing.mp4"], "--video missing.mp4: ");
    check(IMAGE, &["--image", root("Cargo.toml").to_str().unwrap()], "--image: expected");
    let limited = ["--image", &picture("rgb.png"), "--max-request-bytes", "100"];
    check(
        IMAGE,
        &limited,
        "expected at most 100 bytes, which a request has room for (--max-request-bytes), found ",
    );
    let limited = ["--max-request-bytes", "20"];
    check(DEMO, &limited, "expected a request of at most 20 bytes (--max-request-bytes), found ");
    let limited = ["--image", &picture("rgb.png"), "--max-input-pixels", "10"];
    check(IMAGE, &limited, "--image: png: expected 1 to 10 pixels");
    let pictures = folder.path().join("pictures");
    fs::create_dir(&pictures).unwrap();
    (0..9).for_each(|at| {
        fs::write(pictures.join(format!("{at}.png")), picture_of(64, 48)).unwrap();
    });
    for broken in ["5.png", "0.png"] {
        let broken = pictures.join(broken);
        fs::write(&broken, &picture_of(64, 48)[..500]).unwrap();
        let told = format!("error: --video {}: png: expected ", broken.display());
        // Nothing is told before.
        check(DEMO, &["--video", pictures.to_str().unwrap()], &told);
    }
    let image = folder.path().join("image.png");
    fs::write(&image, &picture_of(64, 48)[..500]).unwrap();
    check(IMAGE, &["--image", image.to_str().unwrap()], "--image: ");
    fs::write(&image, picture_of(64, 48)).unwrap();
    let sized = ["--image", image.to_str().unwrap(), "--width", "48", "--height", "64"];
    check(IMAGE, &sized, "--width: expected 64, for which the model has learned positions");
}
