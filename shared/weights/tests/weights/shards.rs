use std::{fs, path::Path};

use cogwheel_weights::{Weights, WeightsError};
use proptest::prelude::*;

use crate::files::{f32, write, write_index};

const ONE: &str = "model-00001-of-00002.safetensors";
const TWO: &str = "model-00002-of-00002.safetensors";

fn two_shards(dir: &Path) {
    write(&dir.join(ONE), &[f32("a", &[1], &[1.0]), f32("b", &[1], &[2.0])]);
    write(&dir.join(TWO), &[f32("c", &[2], &[3.0, 4.0])]);
}

fn open(dir: &Path, weight_map: &[(&str, &str)]) -> Result<Weights, WeightsError> {
    write_index(&dir.join("model.safetensors.index.json"), weight_map);
    Weights::open(dir, "model")
}

fn check_error(dir: &Path, weight_map: &[(&str, &str)], expected: &str) {
    let error = open(dir, weight_map).unwrap_err().to_string();
    let error = error.replace(&format!("{}/", dir.display()), "");
    assert_eq!(error, expected);
}

#[test]
fn shards_read_as_one_file() {
    let dir = tempfile::tempdir().unwrap();
    two_shards(dir.path());
    let weights = open(dir.path(), &[("a", ONE), ("b", ONE), ("c", TWO)]).unwrap();
    assert_eq!(weights.names().collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!(weights.tensor("c").unwrap().as_f32().unwrap().as_ref(), [3.0, 4.0]);
    assert_eq!(weights.total_bytes(), 16);
}

#[test]
fn a_missing_shard_is_named() {
    let dir = tempfile::tempdir().unwrap();
    two_shards(dir.path());
    fs::remove_file(dir.path().join(TWO)).unwrap();
    check_error(
        dir.path(),
        &[("a", ONE), ("b", ONE), ("c", TWO)],
        "model.safetensors.index.json: expected shard model-00002-of-00002.safetensors, found no such file",
    );
}

#[test]
fn a_tensor_that_its_shard_lacks_is_named() {
    let dir = tempfile::tempdir().unwrap();
    two_shards(dir.path());
    check_error(
        dir.path(),
        &[("a", ONE), ("b", TWO), ("c", TWO)],
        "model.safetensors.index.json: expected tensor 'b' in model-00002-of-00002.safetensors, found no such tensor there",
    );
    check_error(
        dir.path(),
        &[("a", ONE), ("b", ONE), ("c", TWO), ("d", TWO)],
        "model.safetensors.index.json: expected tensor 'd' in model-00002-of-00002.safetensors, found no such tensor there",
    );
}

#[test]
fn a_tensor_in_two_shards_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    two_shards(dir.path());
    write(&dir.path().join(TWO), &[f32("b", &[1], &[9.0]), f32("c", &[1], &[1.0])]);
    check_error(
        dir.path(),
        &[("a", ONE), ("b", ONE), ("c", TWO)],
        "tensor 'b': expected in one shard, found in model-00001-of-00002.safetensors and model-00002-of-00002.safetensors",
    );
}

#[test]
fn tensors_that_the_index_leaves_out_are_seen_nonetheless() {
    let dir = tempfile::tempdir().unwrap();
    two_shards(dir.path());
    let weights = open(dir.path(), &[("a", ONE), ("c", TWO)]).unwrap();
    assert!(weights.get("b").is_some());
}

#[test]
fn shards_outside_the_folder_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let inner = dir.path().join("inner");
    fs::create_dir(&inner).unwrap();
    write(&dir.path().join("x.safetensors"), &[f32("a", &[1], &[1.0])]);
    write(&inner.join("x.bin"), &[f32("a", &[1], &[1.0])]);
    let absolute = dir.path().join("x.safetensors").display().to_string();
    for shard in [
        "../x.safetensors",
        "..",
        ".",
        "",
        "./x.safetensors",
        "a/../x.safetensors",
        "..\\x.safetensors",
        "x.bin",
        &absolute,
    ] {
        let error = open(&inner, &[("a", shard)]).unwrap_err().to_string();
        let expected =
            format!("expected shards by plain file names ending in .safetensors, found {shard:?}");
        assert!(error.ends_with(&expected), "{error}");
    }
}

#[test]
fn an_index_that_is_none_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors.index.json");
    for text in ["", "[]", "{}", "{\"weight_map\":{}}", "{\"weight_map\":{\"a\":1}}"] {
        fs::write(&path, text).unwrap();
        assert!(
            matches!(Weights::open(dir.path(), "model"), Err(WeightsError::Index { .. })),
            "{text}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_mutated_index_or_shard_never_panics(
        in_index: bool,
        at: prop::sample::Index,
        byte: u8,
        cut in 0usize..40,
    ) {
        let dir = tempfile::tempdir().unwrap();
        two_shards(dir.path());
        open(dir.path(), &[("a", ONE), ("b", ONE), ("c", TWO)]).unwrap();
        let path = dir.path().join(if in_index { "model.safetensors.index.json" } else { TWO });
        let mut bytes = fs::read(&path).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        bytes.truncate(bytes.len() - if cut < 20 { 0 } else { cut });
        fs::write(&path, bytes).unwrap();
        if let Ok(weights) = Weights::open(dir.path(), "model") {
            for tensor in weights.iter() {
                let _ = weights.tensor_as(tensor.name, cogwheel_tensor::DType::F16);
            }
            weights.digest();
        }
    }
}
