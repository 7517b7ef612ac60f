//! `models show` over the configs of the five published checkpoints, and over one that is here.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use cogwheel_cli::models::{Description, Weights};
use cogwheel_models::checkpoint::Checkpoint;
use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The configs of `tests/data/published_models.json` as folders, with files in place of the weights:
/// opening a checkpoint looks whether they are there and reads none of them.
fn published() -> Vec<(String, tempfile::TempDir)> {
    let text = fs::read_to_string(root().join("tests/data/published_models.json")).unwrap();
    let models: serde_json::Map<String, Value> = serde_json::from_str(&text).unwrap();
    models.into_iter().map(|(name, model)| (name, folder(&model))).collect()
}

fn folder(model: &Value) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |path: &str, text: String| {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("model_index.json", model["model_index"].to_string());
    for part in ["text_encoder", "transformer", "vae"] {
        write(&format!("{part}/config.json"), model["configs"][part].to_string());
        let stem = if part == "text_encoder" { "model" } else { "diffusion_pytorch_model" };
        write(&format!("{part}/{stem}.safetensors"), String::new());
    }
    write("scheduler/scheduler_config.json", model["configs"]["scheduler"].to_string());
    write("tokenizer/spiece.model", String::new());
    folder
}

#[test]
fn every_published_family_is_described() {
    let mut families = Vec::new();
    for (name, folder) in published() {
        let checkpoint = Checkpoint::open(folder.path()).unwrap();
        let description = Description::of(&checkpoint);
        let defaults = &description.defaults;
        assert_eq!(description.max_text_tokens, 226);
        assert_eq!(defaults.fps, if name.contains("1.5") { 16 } else { 8 });
        assert_eq!(defaults.scheduler, if name.ends_with("2b") { "ddim" } else { "dpm" });
        assert_eq!(description.takes.contains(&"an image"), name.ends_with("I2V"));
        assert_eq!(description.parameters.text_encoder, 4_762_310_656);
        assert_eq!(description.memory.len(), 4);
        for memory in &description.memory {
            assert!(memory.one_by_one < memory.together, "{name}");
        }
        families.push((description.parameters.transformer, description.family));
    }
    let parameters: Vec<_> = families.iter().map(|(parameters, _)| *parameters).collect();
    let expected = [1_693_783_872, 5_570_283_072, 5_570_479_680, 5_570_676_352, 5_571_594_880];
    assert_eq!(parameters, expected);
    let distinct: std::collections::BTreeSet<_> =
        families.iter().map(|(_, family)| family).collect();
    assert_eq!(distinct.len(), 5, "{families:?}");
}

fn show(arguments: &[&str], dir: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cogwheel"));
    command.args(["models", "show"]).args(arguments).arg(dir).output().unwrap()
}

#[test]
fn the_demo_model_is_shown_as_text_and_as_json() {
    let dir = root().join("demo/model");
    let output = show(&[], &dir);
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    for expected in ["64x64, 17 frames", "up to 32 tokens", "takes     a prompt", "F16", "together"]
    {
        assert!(text.contains(expected), "expected '{expected}' in\n{text}");
    }
    let json: Value = serde_json::from_slice(&show(&["--json"], &dir).stdout).unwrap();
    let checkpoint = Checkpoint::open(&dir).unwrap();
    let weights = Weights::of(&checkpoint).unwrap().0;
    assert_eq!(json["weights"]["transformer"]["bytes"], weights.transformer.bytes);
    assert_eq!(json["defaults"]["num_frames"], 17);
    assert_eq!(json["memory"][0]["precision"], "fp32");
}

#[test]
fn unfit_weights_are_told_after_what_the_configs_say() {
    let (_, folder) = published().remove(3);
    let output = show(&[], folder.path());
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("CogVideoX 1.5") && text.contains("unfit"), "{text}");
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.starts_with("error: ") && error.lines().count() == 1, "{error}");
}

#[test]
fn what_is_no_checkpoint_is_refused() {
    for dir in [root().join("missing"), root().join("Cargo.toml"), root().join("protos")] {
        let output = show(&[], &dir);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(output.stdout.is_empty());
    }
}
