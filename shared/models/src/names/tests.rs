use std::path::{Path, PathBuf};

use cogwheel_weights::ExpectedTensor;
use serde_json::Value;

use super::*;
use crate::config::{TextEncoderConfig, TransformerConfig, VaeConfig};

/// Written by `tools/reference/parameter_counts.py` from diffusers' and transformers' own classes.
fn published() -> Value {
    let path =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/published_models.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// 64-bit FNV-1a over the lines "NAME DIM DIM ...\n" in the order of the names.
fn digest(tensors: &[ExpectedTensor]) -> String {
    let mut lines: Vec<String> = tensors
        .iter()
        .map(|ExpectedTensor { name, shape }| {
            let dims: String = shape.iter().map(|dim| format!(" {dim}")).collect();
            format!("{name}{dims}\n")
        })
        .collect();
    lines.sort_by(|a, b| a.split(' ').next().cmp(&b.split(' ').next()));
    let hash = lines.concat().bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

fn check_part(model: &Value, part: &str, tensors: &[ExpectedTensor]) {
    let expected = &model["parts"][part];
    let count = |key: &str| expected[key].as_u64().unwrap();
    assert_eq!(tensors.len() as u64, count("tensors"), "{part}: tensors");
    assert_eq!(parameter_count(tensors), count("parameters"), "{part}: parameters");
    let all: u64 = tensors.iter().map(elements).sum();
    assert_eq!(all - parameter_count(tensors), count("buffers"), "{part}: buffers");
    assert_eq!(digest(tensors), expected["fnv1a64"].as_str().unwrap(), "{part}: names and shapes");
}

fn check_model(name: &str, parameters: u64) {
    let models = published();
    let model = &models[name];
    let config = |part: &str| model["configs"][part].to_string();
    let file = Path::new("config.json");
    let config_of_transformer =
        TransformerConfig::parse(file, config("transformer").as_bytes()).unwrap();
    let tensors = transformer(&config_of_transformer);
    assert_eq!(parameter_count(&tensors), parameters);
    check_part(model, "transformer", &tensors);
    check_part(model, "vae", &vae(&VaeConfig::parse(file, config("vae").as_bytes()).unwrap()));
    let config = TextEncoderConfig::parse(file, config("text_encoder").as_bytes()).unwrap();
    check_part(model, "text_encoder", &text_encoder(&config));
}

#[test]
fn names_and_shapes_of_2b_are_those_of_diffusers() {
    check_model("CogVideoX-2b", 1_693_783_872);
}

#[test]
fn names_and_shapes_of_5b_are_those_of_diffusers() {
    check_model("CogVideoX-5b", 5_570_283_072);
}

#[test]
fn names_and_shapes_of_5b_image_to_video_are_those_of_diffusers() {
    check_model("CogVideoX-5b-I2V", 5_570_479_680);
}

#[test]
fn names_and_shapes_of_1_5_are_those_of_diffusers() {
    check_model("CogVideoX1.5-5B", 5_570_676_352);
}

#[test]
fn names_and_shapes_of_1_5_image_to_video_are_those_of_diffusers() {
    check_model("CogVideoX1.5-5B-I2V", 5_571_594_880);
}
