//! A video says how it was made, and is made again from that.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use cogwheel_orchestrator::VideoMetadata;
use cogwheel_video::read_metadata;

fn demo(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demo").join(path);
    path.to_str().unwrap().to_owned()
}

fn generate(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cogwheel"));
    command.args(["generate", "--model", &demo("model")]).args(arguments).output().unwrap()
}

/// A short video with settings of its own in every field; gives what it says of itself.
fn made(output: &Path, arguments: &[&str]) -> VideoMetadata {
    let output = output.to_str().unwrap();
    let all = [&SHORT[..], &["--output", output], arguments].concat();
    let ended = generate(&all);
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let beside = fs::read_to_string(format!("{output}.json")).unwrap();
    serde_json::from_str(&beside).unwrap()
}

const SHORT: [&str; 16] = [
    "--prompt",
    "a red circle moving left",
    "--negative-prompt",
    "triangle",
    "--num-frames",
    "9",
    "--num-inference-steps",
    "2",
    "--guidance-scale",
    "3.456789012345678",
    "--scheduler",
    "dpm",
    "--dynamic-cfg",
    "off",
    "--fps",
    "5",
];

/// With a scheduler that would clear a terminal.
const ODD: &str = r#"{"cogwheel": "", "model": "", "prompt": "a", "width": 64, "height": 64, "num_frames": 9, "fps": 8,
    "num_inference_steps": 2, "guidance_scale": 6, "scheduler": "\u001b[2J", "dynamic_cfg": false, "seed": 1}"#;

/// Makes it again into another file; gives its bytes.
fn again(folder: &Path, from: &Path, arguments: &[&str]) -> Vec<u8> {
    let output = folder.join("again.mp4");
    let from = ["--from", from.to_str().unwrap(), "--output", output.to_str().unwrap()];
    let ended = generate(&[&from, arguments].concat());
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    fs::read(output).unwrap()
}

#[track_caller]
fn refused(output: &Output, expected: &str) {
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let error = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(error.starts_with("error: ") && error.lines().count() == 1, "{error}");
    assert!(error.contains(expected), "expected '{expected}' in '{error}'");
}

#[test]
fn an_mp4_file_is_made_again_to_the_byte_from_itself_and_from_the_json_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let clip = folder.path().join("clip.mp4");
    // No seed is stated: the one that was drawn is told.
    let metadata = made(&clip, &[]);
    let bytes = fs::read(&clip).unwrap();
    let inside = read_metadata(fs::File::open(&clip).unwrap()).unwrap().unwrap();
    assert_eq!(serde_json::from_str::<VideoMetadata>(&inside).unwrap(), metadata);
    assert_eq!((metadata.fps, metadata.scheduler.as_str()), (5, "dpm"));
    assert_eq!(metadata.negative_prompt.as_deref(), Some("triangle"));
    assert!(!metadata.dynamic_cfg && metadata.adapters.is_empty() && metadata.variant.is_none());
    assert_eq!(again(folder.path(), &clip, &[]), bytes);
    let json = folder.path().join("clip.mp4.json");
    assert_eq!(again(folder.path(), &json, &[]), bytes);
    assert_ne!(again(folder.path(), &clip, &["--seed", "1"]), bytes, "what is stated counts");
}

#[test]
fn adapters_are_found_by_their_digests_and_keep_their_scales() {
    let folder = tempfile::tempdir().unwrap();
    let clip = folder.path().join("clip.mp4");
    let (neon, bounce) = (demo("adapters/neon"), demo("adapters/bounce"));
    let scaled = format!("{neon},scale=0.6");
    let metadata = made(&clip, &["--seed", "3", "--compare", "--lora", &scaled]);
    assert!(metadata.compare && metadata.variant.is_some());
    assert_eq!(metadata.adapters[0].scale, 0.6);
    let bytes = fs::read(&clip).unwrap();
    let same = again(folder.path(), &clip, &["--lora", &neon]);
    assert_eq!(same, bytes, "side by side, at the scale of the first time");
    let from = ["--from", clip.to_str().unwrap(), "--output", "out.mp4"];
    let message = format!("expected --lora PATH of adapter '{}'", metadata.adapters[0].name);
    refused(&generate(&from), &message);
    refused(&generate(&[&from[..], &["--lora", &bounce]].concat()), &message);
    let other = format!("{neon},alpha=4");
    refused(&generate(&[&from[..], &["--lora", &other]].concat()), "found 4");
    // What else is given comes after it, and is told to make another video.
    let all =
        [&from[..2], &["--output", clip.to_str().unwrap(), "--lora", &bounce, "--lora", &neon]];
    let ended = generate(&all.concat());
    let told = String::from_utf8(ended.stderr).unwrap();
    assert!(ended.status.success() && told.contains("was made with variant"), "{told}");
    let json = fs::read_to_string(folder.path().join("clip.mp4.json")).unwrap();
    let mixed: VideoMetadata = serde_json::from_str(&json).unwrap();
    let scales: Vec<f32> = mixed.adapters.iter().map(|adapter| adapter.scale).collect();
    assert_eq!(
        (mixed.adapters[0].name.clone(), scales),
        (metadata.adapters[0].name.clone(), vec![0.6, 1.0])
    );
}

#[test]
fn a_compared_video_is_not_compared_again_where_that_cannot_be() {
    let folder = tempfile::tempdir().unwrap();
    let clip = folder.path().join("clip.mp4");
    let neon = demo("adapters/neon");
    made(&clip, &["--seed", "3", "--compare", "--lora", &neon]);
    for (output, more) in [("one.safetensors", &[][..]), ("many.mp4", &["--num-videos", "2"])] {
        let output = folder.path().join(output);
        let from = ["--from", clip.to_str().unwrap(), "--output", output.to_str().unwrap()];
        let ended = generate(&[&from[..], &["--lora", &neon], more].concat());
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    }
}

#[test]
fn pictures_and_tensors_are_made_again_from_the_json_beside_them() {
    let folder = tempfile::tempdir().unwrap();
    let tensors = folder.path().join("clip.safetensors");
    made(&tensors, &["--seed", "3"]);
    let pictures = folder.path().join("pictures/");
    let ended =
        generate(&[&SHORT[..], &["--seed", "3", "--output", pictures.to_str().unwrap()]].concat());
    assert!(ended.status.success());
    let expected = again(folder.path(), &tensors, &[]);
    assert_eq!(again(folder.path(), &pictures, &[]), expected);
}

#[test]
fn what_says_nothing_of_itself_or_nonsense_is_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| -> PathBuf {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let bare = b"\0\0\0\x10ftypisom\0\0\0\0";
    let cases = [
        (folder.path().join("gone.mp4"), "No such file"),
        (file("bare.mp4", bare), "found no metadata in it and no"),
        (file("cut.mp4", &bare[..12]), "found a box of 16 bytes at 0"),
        (file("clip.gif", b"GIF89a"), "found no metadata in it and no"),
        (file("empty.mp4", b""), "found no metadata in it and no"),
        (file("list.json", b"[]"), "expected metadata as this program writes it"),
        (file("bytes.json", &[0xff; 64]), "valid UTF-8"),
        (file("half.json", br#"{"prompt": "a"}"#), "missing field"),
        (file("odd.json", ODD.as_bytes()), "scheduler '\\u{1b}[2J'"),
    ];
    #[cfg(unix)]
    {
        let pipe = folder.path().join("pipe.mp4");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let output = ["--output", "out.mp4", "--from", pipe.to_str().unwrap()];
        refused(&generate(&output), "found: a pipe");
    }
    for (path, expected) in cases {
        let output = ["--output", "out.mp4", "--from", path.to_str().unwrap()];
        refused(&generate(&output), expected);
    }
}
