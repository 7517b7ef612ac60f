use std::fs;

use cogwheel_tensor::DType;
use cogwheel_weights::Weights;
use safetensors::Dtype;

use crate::files::{f32, write};

#[test]
fn tensors_come_back_as_they_were_written() {
    let dir = tempfile::tempdir().unwrap();
    let half = ("b".to_owned(), Dtype::F16, vec![2], vec![0, 60, 0, 64]);
    write(&dir.path().join("model.safetensors"), &[f32("a", &[1, 2], &[1.5, -2.0]), half]);
    let weights = Weights::open(dir.path(), "model").unwrap();
    assert_eq!(weights.names().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!((weights.total_parameters(), weights.total_bytes()), (4, 12));
    assert_eq!(weights.dtype(), DType::F32);
    let view = weights.get("b").unwrap();
    assert_eq!((view.name, view.dtype, view.shape), ("b", DType::F16, &[2][..]));
    assert_eq!(&view.bytes[..], [0, 60, 0, 64]);
    let tensor = weights.tensor("a").unwrap();
    assert_eq!(tensor.shape(), [1, 2]);
    assert_eq!(tensor.as_f32().unwrap().as_ref(), [1.5, -2.0]);
    assert!(weights.get("c").is_none());
    let error = weights.tensor("c").unwrap_err().to_string();
    assert!(error.ends_with("model.safetensors: expected tensor 'c', found none of that name"));
}

#[test]
fn tensors_outlive_the_weights_they_came_from() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    write(&path, &[f32("a", &[1], &[7.0])]);
    let weights = Weights::open_file(&path).unwrap();
    let shared = weights.tensor("a").unwrap();
    // Zero-copy: twice the same memory.
    assert_eq!(
        shared.bytes().as_ptr(),
        weights.tensor_as("a", DType::F32).unwrap().bytes().as_ptr()
    );
    drop(weights);
    fs::remove_file(&path).unwrap();
    assert_eq!(shared.as_f32().unwrap().as_ref(), [7.0]);
}

#[test]
fn the_fp16_variant_is_taken_where_there_is_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("model.fp16.safetensors"), &[f32("a", &[1], &[1.0])]);
    assert_eq!(Weights::open(dir.path(), "model").unwrap().names().len(), 1);
    write(&dir.path().join("model.safetensors"), &[f32("a", &[1], &[1.0]), f32("b", &[1], &[1.0])]);
    assert_eq!(Weights::open(dir.path(), "model").unwrap().names().len(), 2);
}

#[test]
fn a_folder_without_weights_says_what_was_looked_for() {
    let dir = tempfile::tempdir().unwrap();
    let error = |path| Weights::open(path, "model").unwrap_err().to_string();
    let expected = "expected model.safetensors or model.safetensors.index.json, found";
    let shown = dir.path().display();
    assert_eq!(error(dir.path()), format!("{shown}: {expected} neither"));
    let missing = dir.path().join("none");
    assert_eq!(error(&missing), format!("{}: {expected} no such folder", missing.display()));
    fs::write(dir.path().join("pytorch_model.bin"), "").unwrap();
    let pickle = "only pytorch_model.bin, a pickle: save the model as safetensors";
    assert_eq!(error(dir.path()), format!("{shown}: {expected} {pickle}"));
}

#[test]
fn a_file_and_an_index_side_by_side_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("model.safetensors"), &[f32("a", &[1], &[1.0])]);
    fs::write(dir.path().join("model.safetensors.index.json"), "{}").unwrap();
    let error = Weights::open(dir.path(), "model").unwrap_err().to_string();
    assert!(error.ends_with(
        "expected one of model.safetensors and model.safetensors.index.json, found both"
    ));
}

#[test]
fn empty_files_and_folders_in_place_of_files_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    fs::write(&path, "").unwrap();
    let error = Weights::open(dir.path(), "model").unwrap_err().to_string();
    assert!(error.ends_with("expected safetensors of at least 8 bytes, found 0 bytes"), "{error}");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let error = Weights::open(dir.path(), "model").unwrap_err().to_string();
    assert!(error.ends_with("not a regular file"), "{error}");
}

#[test]
fn every_shortening_of_a_file_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    write(&path, &[f32("a", &[3], &[1.0, 2.0, 3.0])]);
    let whole = fs::read(&path).unwrap();
    for length in 0..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        assert!(Weights::open_file(&path).is_err(), "{length} of {} bytes", whole.len());
    }
}

#[test]
fn the_texts_of_a_files_header_and_its_bytes_are_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.safetensors");
    write(&path, &[f32("a", &[1], &[1.0])]);
    let weights = Weights::open_file(&path).unwrap();
    assert_eq!(weights.metadata().get("format").map(String::as_str), Some("pt"));
    let [bytes] = weights.files() else { panic!("one file") };
    assert_eq!(*bytes, fs::read(&path).unwrap());
}
