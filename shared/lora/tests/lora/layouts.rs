//! One adapter in every layout is one adapter.

use std::path::Path;

use cogwheel_lora::{Adapter, Layout, Recipe};
use cogwheel_tensor::DType;
use cogwheel_weights::Digest;
use safetensors::Dtype;

use crate::fixtures::{Written, base, f32s, merged, path, read, write};

/// The canonical adapter's tensors under other names, beside others.
fn twin(source: &str, rename: impl Fn(&str) -> String, more: Vec<Written>) -> Vec<Written> {
    let (mut tensors, _) = read(&path(source));
    for tensor in &mut tensors {
        let name = tensor.0.strip_prefix("transformer.").unwrap();
        tensor.0 = rename(name);
    }
    tensors.extend(more);
    tensors
}

fn check(source: &str, tensors: &[Written], metadata: &[(&str, &str)], layout: Layout) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("twin.safetensors");
    write(&file, tensors, metadata);
    check_file(source, &file, layout);
}

fn check_file(source: &str, file: &Path, layout: Layout) {
    let canonical = Adapter::open(&path(source), None).unwrap();
    let twin = Adapter::open(file, None).unwrap();
    let (_, weights) = base();
    let model = cogwheel_lora::Model::new(&base().0, None);
    assert_eq!(twin.describe(&model).unwrap().layout, layout);
    assert_ne!(twin.digest(), canonical.digest(), "the files differ");
    assert_eq!(twin.identity(), canonical.identity(), "{layout}");
    let [twin, canonical] = [twin, canonical].map(|adapter| vec![(adapter.into(), 0.7)]);
    let id = |adapters| Recipe::new(adapters).unwrap().id(Digest::of(b"model"));
    assert_eq!(id(twin.clone()), id(canonical.clone()));
    let expected = merged(&weights, &canonical, DType::F32).unwrap();
    assert_eq!(merged(&weights, &twin, DType::F32).unwrap(), expected, "{layout}");
}

/// The names that the matrices have as kohya's.
fn kohya(name: &str) -> String {
    let (module, rest) = name.split_once(".lora_").unwrap();
    let module = module.replace('.', "_");
    match rest {
        "A.weight" => format!("lora_unet__{module}.lora_down.weight"),
        "B.weight" => format!("lora_unet__{module}.lora_up.weight"),
        "magnitude_vector" => format!("lora_unet__{module}.dora_scale"),
        other => panic!("{other}"),
    }
}

fn old(name: &str) -> String {
    name.replace("lora_A", "lora.down").replace("lora_B", "lora.up")
}

fn of_processors(name: &str) -> String {
    let name = name.replace("to_out.0", "to_out").replace("attn1.to_", "attn1.processor.to_");
    name.replace(".lora_A", "_lora.down").replace(".lora_B", "_lora.up")
}

fn sat(name: &str) -> String {
    let name = name.replace("transformer_blocks", "model.diffusion_model.transformer.layers");
    let mut name = name.replace(".weight", "");
    for (layer, fused, index) in [
        ("attn1.to_q", "attention.query_key_value", 0),
        ("attn1.to_k", "attention.query_key_value", 1),
        ("attn1.to_v", "attention.query_key_value", 2),
        ("attn1.to_out.0", "attention.dense", 0),
    ] {
        for matrix in ["A", "B"] {
            name = name.replace(
                &format!("{layer}.lora_{matrix}"),
                &format!("{fused}.matrix_{matrix}.{index}"),
            );
        }
    }
    name
}

const ATTENTION: &str = "attention.safetensors";

#[test]
fn every_layout_is_the_same_variant_as_its_canonical_twin() {
    let check = |rename: fn(&str) -> String, layout| {
        check(ATTENTION, &twin(ATTENTION, rename, Vec::new()), &[], layout);
    };
    check(|name| format!("base_model.model.{name}"), Layout::Peft);
    check(str::to_owned, Layout::Unprefixed);
    check(|name| format!("diffusion_model.{name}"), Layout::DiffusionModel);
    check(
        |name| format!("transformer.{}", name.replace(".weight", ".default.weight")),
        Layout::Diffusers,
    );
    check(|name| format!("transformer.{}", old(name)), Layout::OldDiffusers);
    check(|name| format!("transformer.{}", of_processors(name)), Layout::OldDiffusers);
    check(kohya, Layout::Kohya);
    check(sat, Layout::Sat);
}

#[test]
fn alphas_beside_any_names_are_read() {
    let alphas = |layer: &dyn Fn(&str) -> String| -> Vec<Written> {
        ["transformer_blocks.0.attn1.to_q", "transformer_blocks.1.attn1.to_q"]
            .into_iter()
            .zip([4i64, 2])
            .map(|(module, rank)| {
                (
                    format!("{}.alpha", layer(module)),
                    Dtype::I64,
                    vec![],
                    rank.to_le_bytes().to_vec(),
                )
            })
            .collect()
    };
    // The ranks, so that the scale is that of the canonical one, which states none.
    let source = "ranks.safetensors";
    let flat = alphas(&|module| format!("lora_unet__{}", module.replace('.', "_")));
    check(source, &twin(source, kohya, flat), &[], Layout::Kohya);
    let dotted = alphas(&|module| format!("transformer.{module}"));
    let tensors = twin(source, |name| format!("transformer.{name}"), dotted);
    check(source, &tensors, &[], Layout::Diffusers);
}

#[test]
fn a_dora_of_kohyas_names_is_one_of_pefts() {
    let source = "dora.safetensors";
    let (_, metadata) = read(&path(source));
    let metadata: Vec<(&str, &str)> =
        metadata.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let mut tensors = twin(source, kohya, Vec::new());
    for (name, _, shape, _) in &mut tensors {
        if name.ends_with("dora_scale") {
            let rows: usize = shape.iter().product();
            *shape = if name.contains("patch_embed") { vec![rows, 1, 1, 1] } else { vec![rows, 1] };
        }
    }
    check(source, &tensors, &metadata, Layout::Kohya);
}

#[test]
fn convolutions_and_embeddings_have_kohyas_names_too() {
    let source = "mixed.safetensors";
    let (_, metadata) = read(&path(source));
    let metadata: Vec<(&str, &str)> =
        metadata.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let rename = |name: &str| {
        if let Some(module) = name.strip_suffix(".lora_B.bias") {
            return format!("lora_unet__{}.lora_up.bias", module.replace('.', "_"));
        }
        kohya(name)
    };
    check(source, &twin(source, rename, Vec::new()), &metadata, Layout::Kohya);
}

#[test]
fn names_of_two_layouts_in_one_file_are_taken_with_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.safetensors");
    let prefix = |name: &str| {
        let prefix = if name.contains("to_q") { "" } else { "transformer." };
        format!("{prefix}{name}")
    };
    write(&file, &twin(ATTENTION, prefix, Vec::new()), &[]);
    check_file(ATTENTION, &file, Layout::Diffusers);
    let description = crate::fixtures::describe(&file).unwrap();
    let expected = "its tensors are named in 2 layouts: diffusers, unprefixed";
    assert!(description.warnings.contains(&expected.to_owned()), "{:?}", description.warnings);
}

#[test]
fn one_layer_under_two_names_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.safetensors");
    let second = f32s("transformer_blocks.0.attn1.to_q.lora_A.weight", &[4, 48], &[0.5; 192]);
    write(&file, &twin(ATTENTION, |name| format!("transformer.{name}"), vec![second]), &[]);
    let error = Adapter::open(&file, None).unwrap_err().to_string();
    assert!(error.contains("transformer_blocks.0.attn1.to_q: expected each part once"), "{error}");
}
