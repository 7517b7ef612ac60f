//! Every reason to refuse an adapter, with what was expected and what was found.

use std::path::Path;

use cogwheel_lora::{Adapter, Model};
use cogwheel_models::config::TransformerConfig;

use crate::fixtures::{Written, describe, filled, pair, write};

const Q: &str = "transformer_blocks.0.attn1.to_q";

fn message(tensors: &[Written], metadata: &[(&str, &str)]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.safetensors");
    write(&file, tensors, metadata);
    let error = describe(&file).unwrap_err().to_string();
    error.replace(&format!("{}: ", file.display()), "")
}

fn check(tensors: &[Written], expected: &str) {
    assert_eq!(message(tensors, &[]), expected);
}

fn with(more: Written) -> Vec<Written> {
    let mut tensors = pair(Q, 4, 48, 48);
    tensors.push(more);
    tensors
}

#[test]
fn names_that_match_nothing() {
    check(
        &with(filled("transformer.transformer_blocks.0.attn2.to_q.lora_A.weight", &[4, 48])),
        "expected LoRA tensors of a CogVideoX transformer, found 1 of 3 that match nothing: \
         'transformer.transformer_blocks.0.attn2.to_q.lora_A.weight'",
    );
    let others =
        ["a", "b", "c", "d"].map(|name| filled(&format!("unet.{name}.lora_A.weight"), &[4, 48]));
    check(
        &others,
        "expected LoRA tensors of a CogVideoX transformer, found 4 of 4 that match nothing: 'unet.a.lora_A.weight', \
         'unet.b.lora_A.weight', 'unet.c.lora_A.weight' and 1 more",
    );
}

#[test]
fn parts_for_a_text_encoder() {
    for name in ["text_encoder.x.lora_A.weight", "lora_te_x.lora_down.weight"] {
        let expected = format!(
            "expected tensors for the transformer alone, found 1 for a text encoder, as '{name}': save the \
             transformer's part by itself"
        );
        check(&with(filled(name, &[4, 8])), &expected);
    }
}

#[test]
fn half_a_pair() {
    for (part, found) in [(0, "lora_A alone"), (1, "lora_B alone")] {
        let expected = format!("{Q}: expected a pair of matrices, found {found}");
        check(&[pair(Q, 4, 48, 48)[part].clone()], &expected);
    }
    for part in ["alpha", "lora_B.bias", "lora_magnitude_vector"] {
        let name = format!("transformer.transformer_blocks.1.attn1.to_k.{part}");
        let expected = format!(
            "transformer_blocks.1.attn1.to_k: expected a pair of matrices, found only {name}"
        );
        check(&with(filled(&name, &[48])), &expected);
    }
}

#[test]
fn matrices_that_do_not_fit_each_other() {
    let mut tensors = pair(Q, 4, 48, 48);
    tensors[1] = filled(&tensors[1].0, &[48, 3]);
    check(
        &tensors,
        &format!(
            "tensor 'transformer.{Q}.lora_B.weight': expected [output, 4], for the 4 rows of its lora_A, found shape \
             [48, 3]"
        ),
    );
    for shape in [vec![48], vec![0, 48], vec![4, 0], vec![4, 4, 12], vec![1; 12]] {
        let mut tensors = pair(Q, 4, 48, 48);
        tensors[0] = filled(&tensors[0].0, &shape);
        let expected = format!(
            "tensor 'transformer.{Q}.lora_A.weight': expected a matrix [rank, input] or a kernel [rank, input, height, \
             width], found shape {shape:?}"
        );
        check(&tensors, &expected);
    }
}

#[test]
fn biases_and_magnitudes_of_other_lengths() {
    for (part, shape, expected) in [
        ("lora_B.bias", vec![47], "shape [48]"),
        ("lora_magnitude_vector", vec![47], "shape [48] or [48, 1]"),
        // Norms of the columns: another method.
        ("dora_scale", vec![1, 48], "shape [48] or [48, 1]"),
    ] {
        let name = format!("transformer.{Q}.{part}");
        let expected = format!("tensor '{name}': expected {expected}, found shape {shape:?}");
        check(&with(filled(&name, &shape)), &expected);
    }
}

#[test]
fn numbers_that_are_not_finite() {
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for (part, letter) in [(0, "a"), (1, "b")] {
            let mut tensors = pair(Q, 4, 48, 48);
            tensors[part].3[40 * 4..41 * 4].copy_from_slice(&value.to_le_bytes());
            let expected =
                format!("tensor '{Q} ({letter})': expected finite numbers, found NaN or infinity");
            check(&tensors, &expected);
        }
    }
    for (dtype, bytes) in [
        (safetensors::Dtype::F16, half::f16::NAN.to_le_bytes()),
        (safetensors::Dtype::F16, half::f16::INFINITY.to_le_bytes()),
        (safetensors::Dtype::BF16, half::bf16::NAN.to_le_bytes()),
        (safetensors::Dtype::BF16, half::bf16::NEG_INFINITY.to_le_bytes()),
    ] {
        let tensors: Vec<Written> = pair(Q, 4, 48, 48)
            .into_iter()
            .map(|(name, _, shape, _)| {
                let elements: usize = shape.iter().product();
                let mut data = vec![0; elements * 2];
                data[elements..elements + 2].copy_from_slice(&bytes);
                (name, dtype, shape, data)
            })
            .collect();
        assert!(message(&tensors, &[]).contains("found NaN or infinity"));
    }
}

#[test]
fn numbers_of_another_kind_with_what_to_do_about_it() {
    for (dtype, name) in [
        (safetensors::Dtype::F64, "F64"),
        (safetensors::Dtype::F8_E4M3, "F8_E4M3"),
        (safetensors::Dtype::I32, "I32"),
    ] {
        let mut tensors = pair(Q, 4, 48, 48);
        tensors[0].1 = dtype;
        tensors[0].3 = vec![0; 4 * 48 * dtype.bitsize() / 8];
        let expected = format!(
            "tensor 'transformer.{Q}.lora_A.weight': expected F32, F16 or BF16, found {name}: convert the tensors \
             with .to(torch.float32) and save them again"
        );
        check(&tensors, &expected);
    }
}

/// What a file says is shown as far as a reader gets, whatever the length.
#[test]
fn names_and_texts_of_any_length_are_cut_short() {
    let long = "x".repeat(10_000);
    let name = |part: &str| format!("transformer.{Q}.lora_{part}.{long}.weight");
    let mismatched = [filled(&name("A"), &[4, 48]), filled(&name("B"), &[48, 3])];
    let dir = tempfile::tempdir().unwrap();
    let weight_name = Adapter::open(dir.path(), Some(&long)).unwrap_err().to_string();
    let stated = of_5b(dir.path(), &[("base_model", long.as_str())]);
    let description = stated.describe(&published(48, 42)).unwrap();
    for text in [message(&mismatched, &[]), weight_name, description.stated_base.unwrap()] {
        assert!(text.len() < 400 && text.contains("xxx..."), "{text}");
    }
}

#[test]
fn another_width_with_the_published_models_that_it_would_fit() {
    check(
        &pair(Q, 4, 1920, 1920),
        "expected an adapter for a transformer of 2 layers, width 48, 'transformer_blocks.0.attn1.to_q' [48, 48], found \
         one for [1920, 1920]; it would fit CogVideoX-2b",
    );
    check(
        &pair(Q, 4, 3072, 3072),
        "expected an adapter for a transformer of 2 layers, width 48, 'transformer_blocks.0.attn1.to_q' [48, 48], found \
         one for [3072, 3072]; it would fit CogVideoX-5b, CogVideoX-5b-I2V, CogVideoX1.5-5B, CogVideoX1.5-5B-I2V",
    );
    check(
        &pair(Q, 4, 40, 40),
        "expected an adapter for a transformer of 2 layers, width 48, 'transformer_blocks.0.attn1.to_q' [48, 48], found \
         one for [40, 40]; it fits none of the published CogVideoX",
    );
}

#[test]
fn more_blocks_than_the_model_has() {
    check(
        &pair("transformer_blocks.2.attn1.to_q", 4, 48, 48),
        "expected an adapter for a transformer of 2 layers, width 48, found one for 'transformer_blocks.2.attn1.to_q', \
         which is not there; it fits none of the published CogVideoX",
    );
}

#[test]
fn an_embedding_of_other_channels_decides_between_models_of_one_width() {
    let kernel = |channels: usize| {
        vec![
            filled("transformer.patch_embed.proj.lora_A.weight", &[4, channels, 2, 2]),
            filled("transformer.patch_embed.proj.lora_B.weight", &[3072, 4, 1, 1]),
        ]
    };
    for (tensors, fits) in [
        (kernel(16), "CogVideoX-5b"),
        (kernel(32), "CogVideoX-5b-I2V"),
        (pair("patch_embed.proj", 4, 128, 3072), "CogVideoX1.5-5B"),
        (pair("patch_embed.proj", 4, 256, 3072), "CogVideoX1.5-5B-I2V"),
        (pair("ofs_embedding.linear_1", 4, 512, 512), "CogVideoX1.5-5B-I2V"),
    ] {
        let found = message(&tensors, &[]);
        assert!(found.ends_with(&format!("; it would fit {fits}")), "{found}");
    }
}

fn published(heads: usize, layers: usize) -> Model<'static> {
    let config = TransformerConfig {
        num_attention_heads: heads,
        num_layers: layers,
        ..TransformerConfig::default()
    };
    Model::new(&config, None)
}

fn of_5b(dir: &Path, metadata: &[(&str, &str)]) -> Adapter {
    let file = dir.join("x.safetensors");
    write(&file, &pair(Q, 1, 3072, 3072), metadata);
    Adapter::open(&file, None).unwrap()
}

#[test]
fn an_adapter_that_says_itself_it_is_for_another_model() {
    let dir = tempfile::tempdir().unwrap();
    for (key, value) in [
        ("base_model_name_or_path", "THUDM/CogVideoX1.5-5B-I2V"),
        ("ss_base_model_version", "flux.1-dev"),
        (
            "lora_adapter_metadata",
            r#"{"transformer.base_model_name_or_path": "THUDM/CogVideoX-2b"}"#,
        ),
    ] {
        let error = of_5b(dir.path(), &[(key, value)]).describe(&published(48, 42)).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("expected an adapter for CogVideoX-5b (42 layers, width 3072)"),
            "{text}"
        );
        assert!(matches!(error, cogwheel_lora::AdapterError::StatedBase { .. }), "{text}");
    }
}

#[test]
fn a_model_of_the_same_shapes_is_a_warning_unless_the_adapter_says_which() {
    let dir = tempfile::tempdir().unwrap();
    let described = |metadata: &[(&str, &str)]| {
        of_5b(dir.path(), metadata).describe(&published(48, 42)).unwrap()
    };
    let silent = described(&[]);
    let expected = "nothing in it says which model it was trained from, and by its shapes it could belong to \
                    CogVideoX-5b-I2V, CogVideoX1.5-5B, CogVideoX1.5-5B-I2V too";
    assert!(silent.warnings.contains(&expected.to_owned()), "{:?}", silent.warnings);
    assert_eq!(silent.fits.len(), 4);
    let said = described(&[("base_model_name_or_path", "/models/CogVideoX-5b")]);
    assert!(!said.warnings.iter().any(|warning| warning.contains("could belong")));
    assert_eq!(said.stated_base.as_deref(), Some("/models/CogVideoX-5b"));
}

#[test]
fn metadata_that_is_malformed_or_of_another_method() {
    for (json, expected) in [
        ("{", "lora_adapter_metadata: expected a JSON object, found "),
        (
            r#"{"transformer.peft_type": "LOKR"}"#,
            "lora_adapter_metadata: peft_type: expected LORA, found LOKR",
        ),
        (
            r#"{"transformer.lora_alpha": -2}"#,
            "lora_adapter_metadata: lora_alpha: expected a positive number, found -2",
        ),
    ] {
        let found = message(&pair(Q, 4, 48, 48), &[("lora_adapter_metadata", json)]);
        assert!(found.starts_with(expected), "{found}");
    }
}

#[test]
fn zeros_that_leave_the_model_as_it_is() {
    let zeros = |name: &str, shape: &[usize]| -> Written {
        let (name, dtype, shape, bytes) = filled(name, shape);
        (name, dtype, shape, vec![0; bytes.len()])
    };
    let name = |part| format!("transformer.{Q}.lora_{part}.weight");
    let message = message(&[filled(&name("A"), &[4, 48]), zeros(&name("B"), &[48, 4])], &[]);
    assert!(message.contains("expected a number other than 0 in any layer"), "{message}");
    let one = [filled(&name("A"), &[4, 48]), filled(&name("B"), &[48, 4])];
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("x.safetensors"), &one, &[]);
    describe(&dir.path().join("x.safetensors")).unwrap();
}
