//! Which file an adapter is read from.

use std::{fs, path::Path};

use cogwheel_lora::{Adapter, AdapterFiles};

use crate::fixtures::{pair, root, transformer, write};

fn put(dir: &Path, name: &str) {
    write(&dir.join(name), &pair("proj_out", 2, 48, 16), &[]);
}

fn found(dir: &Path, weight_name: Option<&str>) -> String {
    let files = AdapterFiles::find(dir, weight_name).unwrap();
    files.weights.file_name().unwrap().to_str().unwrap().to_owned()
}

fn refusal(path: &Path, weight_name: Option<&str>) -> String {
    let text = AdapterFiles::find(path, weight_name).unwrap_err().to_string();
    text.replace(path.to_str().unwrap(), "DIR")
}

#[test]
fn diffusers_name_goes_before_pefts_and_any_other_must_be_alone() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    put(dir, "b.safetensors");
    fs::write(dir.join("README.md"), "x").unwrap();
    assert_eq!(found(dir, None), "b.safetensors");
    put(dir, "a.safetensors");
    let expected = "DIR: expected one .safetensors file or a weight name, found 'a.safetensors', 'b.safetensors'";
    assert_eq!(refusal(dir, None), expected);
    assert_eq!(found(dir, Some("b.safetensors")), "b.safetensors");
    put(dir, "adapter_model.safetensors");
    assert_eq!(found(dir, None), "adapter_model.safetensors");
    put(dir, "pytorch_lora_weights.safetensors");
    assert_eq!(found(dir, None), "pytorch_lora_weights.safetensors");
}

#[test]
fn a_config_belongs_to_pefts_file_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("adapter_config.json"), "{").unwrap();
    put(dir.path(), "adapter_model.safetensors");
    put(dir.path(), "other.safetensors");
    let error = Adapter::open(dir.path(), None).unwrap_err().to_string();
    assert!(error.contains("adapter_config.json: the file: expected a JSON object"), "{error}");
    Adapter::open(dir.path(), Some("other.safetensors")).unwrap();
    let files = AdapterFiles::find(&dir.path().join("adapter_model.safetensors"), None).unwrap();
    assert!(files.config.is_some());
}

#[test]
fn pickles_are_refused_with_advice() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pytorch_lora_weights.bin");
    fs::write(&file, "PK").unwrap();
    let expected = "expected safetensors, found a pickle, which is not read: load it with torch and save it with \
                    safetensors.torch.save_file";
    for (path, name) in
        [(file.as_path(), None), (dir.path(), None), (dir.path(), Some("pytorch_lora_weights.bin"))]
    {
        let found = AdapterFiles::find(path, name).unwrap_err().to_string();
        assert_eq!(found, format!("{}: {expected}", file.display()));
    }
}

/// torch.save writes a zip archive, before torch 1.6 it wrote a pickle.
#[test]
fn pickles_under_the_name_of_safetensors_get_the_same_advice() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.safetensors");
    let message = |start: &[u8]| {
        fs::write(&file, [start, &[1; 100]].concat()).unwrap();
        Adapter::open(&file, None).unwrap_err().to_string()
    };
    for start in [
        &b"PK\x03\x04\x00\x00\x08\x08"[..],
        b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.",
        b"\x80\x04\x95",
    ] {
        let found = message(start);
        assert!(found.ends_with("save it with safetensors.torch.save_file"), "{found}");
    }
    // A header of 640 bytes that was cut off begins alike.
    let cut = message(&640_u64.to_le_bytes());
    assert!(!cut.contains("pickle"), "{cut}");
}

#[test]
fn a_weight_name_stays_in_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "x.safetensors");
    let inner = dir.path().join("inner");
    fs::create_dir(&inner).unwrap();
    put(&inner, "y.safetensors");
    let absolute = dir.path().join("x.safetensors");
    for name in [
        "../x.safetensors",
        "",
        "/",
        "..",
        "a/../../x.safetensors",
        absolute.to_str().unwrap(),
        "x\0",
    ] {
        let expected = format!(
            "weight name: expected the name of a file in the adapter's folder, found '{name}'"
        );
        assert_eq!(refusal(&inner, Some(name)), expected);
    }
    assert_eq!(found(dir.path(), Some("inner/y.safetensors")), "y.safetensors");
    assert_eq!(refusal(&inner, Some("z")), "DIR: expected a file 'z', found no such file");
}

#[test]
fn what_is_not_there_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let expected =
        "DIR: expected pytorch_lora_weights.safetensors or another .safetensors file, found none";
    assert_eq!(refusal(dir.path(), None), expected);
    assert_eq!(
        refusal(&dir.path().join("x"), None),
        "DIR: expected an adapter's file or folder, found nothing"
    );
    put(dir.path(), "x.safetensors");
    let file = dir.path().join("x.safetensors");
    assert_eq!(refusal(&file, Some("y")), "DIR: expected a folder with 'y', found a file");
    assert_eq!(found(&file, Some("x.safetensors")), "x.safetensors");
}

#[test]
fn the_demos_adapters_are_read_and_fit_its_model() {
    let (config, weights) = transformer(&root().join("demo/model/transformer"));
    let model = cogwheel_lora::Model::new(&config, Some(&weights));
    for (name, layers, rank) in [("bounce", 28, 8), ("neon", 58, 16), ("trail", 28, 8)] {
        let adapter = Adapter::open(&root().join("demo/adapters").join(name), None).unwrap();
        let description = adapter.describe(&model).unwrap();
        assert_eq!((description.targets, description.tensors), (layers, 2 * layers));
        assert_eq!(description.ranks, [(rank, layers)].into());
        // They were trained by PEFT at the scale that they get, and so hard as adapters are.
        let change = description.relative_change.unwrap();
        assert!((0.01..1.0).contains(&change), "{change}");
        assert_eq!(description.warnings, [""; 0]);
    }
}
