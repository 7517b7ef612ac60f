//! What a description says.

use cogwheel_lora::{AlphaGroup, AlphaSource, Layout};
use cogwheel_weights::Digest;

use crate::fixtures::{describe, pair, path, write};

#[test]
fn a_description_says_what_the_file_holds() {
    let file = path("mixed.safetensors");
    let description = describe(&file).unwrap();
    let bytes = std::fs::read(&file).unwrap();
    assert_eq!(description.layout, Layout::Diffusers);
    assert_eq!(description.digest, Digest::of(&bytes).to_string());
    assert_eq!(description.size_bytes, bytes.len() as u64);
    assert_eq!(description.dtype, "F32");
    assert_eq!((description.tensors, description.targets), (27, 9));
    assert_eq!(description.targets_of_model, 22);
    assert_eq!(description.ranks, [(2, 1), (3, 7), (5, 1)].into());
    assert_eq!((description.bias_targets, description.dora_targets), (9, 0));
    let mut alphas = description.alphas.clone();
    alphas.sort_by(|a, b| a.alpha.total_cmp(&b.alpha));
    let source = AlphaSource::Metadata;
    let group = |alpha, targets| AlphaGroup { alpha, source, targets };
    assert_eq!(alphas, [group(1.0, 1), group(4.0, 1), group(6.0, 7)]);
    let mut scales: Vec<(f64, usize)> =
        description.scales.iter().map(|group| (group.scale, group.targets)).collect();
    scales.sort_by(|a, b| a.0.total_cmp(&b.0));
    assert_eq!(scales, [(0.2, 1), (4.0 / 3.0, 1), (2.0, 6), (3.0, 1)]);
    assert_eq!(description.warnings, [""; 0]);
}

#[test]
fn doras_and_rslora_are_said() {
    let dora = describe(&path("dora.safetensors")).unwrap();
    assert_eq!((dora.dora_targets, dora.use_rslora), (3, false));
    assert!(describe(&path("rslora.safetensors")).unwrap().use_rslora);
}

#[test]
fn the_digest_of_a_peft_folder_is_of_both_files() {
    let description = describe(&path("peft")).unwrap();
    assert_eq!(description.layout, Layout::Peft);
    let alone = Digest::of(&std::fs::read(path("peft/adapter_model.safetensors")).unwrap());
    assert_ne!(description.digest, alone.to_string());
    assert!(description.alphas.iter().all(|group| group.source == AlphaSource::Config));
}

#[test]
fn target_modules_that_disagree_are_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.safetensors");
    let metadata =
        r#"{"transformer.lora_alpha": 2, "transformer.target_modules": ["to_k", "attn1.to_q"]}"#;
    let mut tensors = pair("transformer_blocks.0.attn1.to_q", 2, 48, 48);
    tensors.extend(pair("transformer_blocks.1.attn1.to_v", 2, 48, 48));
    write(&file, &tensors, &[("lora_adapter_metadata", metadata)]);
    let expected = "target_modules disagrees with the file: tensors for layers that it does not name, as \
                    'transformer_blocks.1.attn1.to_v'; no tensors for 'to_k'";
    assert_eq!(describe(&file).unwrap().warnings, [expected]);
}

#[test]
fn the_first_blocks_alone_are_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.safetensors");
    write(&file, &pair("transformer_blocks.0.attn1.to_q", 2, 48, 48), &[]);
    let expected = "it changes the first 1 of 2 blocks alone".to_owned();
    assert!(describe(&file).unwrap().warnings.contains(&expected));
}

#[test]
fn a_stated_dora_without_magnitudes_is_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.safetensors");
    let metadata = r#"{"transformer.lora_alpha": 2, "transformer.use_dora": true}"#;
    write(&file, &pair("proj_out", 2, 48, 16), &[("lora_adapter_metadata", metadata)]);
    let expected =
        "1 of 1 layers: the config states DoRA, but there is no magnitude: taken for plain LoRA";
    assert_eq!(describe(&file).unwrap().warnings, [expected]);
}
