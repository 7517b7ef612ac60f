//! Files that are not what they say: no panic, and no memory taken on the word of a header.

use std::fs;

use cogwheel_lora::Adapter;
use proptest::prelude::*;

use crate::fixtures::{describe, path};

fn open(bytes: &[u8]) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.safetensors");
    fs::write(&file, bytes).unwrap();
    let _ = describe(&file);
}

fn framed(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat()
}

#[test]
fn a_header_that_states_more_than_the_file_holds_takes_no_memory() {
    let huge = u64::MAX / 8;
    for header in [
        format!(
            r#"{{"transformer.proj_out.lora_A.weight":{{"dtype":"F32","shape":[{huge},2],"data_offsets":[0,{huge}]}}}}"#
        ),
        format!(
            r#"{{"transformer.proj_out.lora_A.weight":{{"dtype":"F32","shape":[{huge},0],"data_offsets":[0,0]}}}}"#
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x.safetensors");
        fs::write(&file, framed(&header, &[])).unwrap();
        assert!(Adapter::open(&file, None).is_err());
    }
}

/// A product of two thin matrices can be as large as a model's, whatever the file's size: it is never made before the
/// model's shapes were compared.
#[test]
fn a_small_file_for_a_huge_layer_is_refused_before_anything_is_computed() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.safetensors");
    let tensors = crate::fixtures::pair("proj_out", 1, 1 << 20, 1 << 20);
    crate::fixtures::write(&file, &tensors, &[]);
    assert!(describe(&file).unwrap_err().to_string().contains("found one for [1048576, 1048576]"));
}

#[test]
fn a_rank_far_beyond_the_layers_is_described_without_taking_its_square() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.safetensors");
    crate::fixtures::write(&file, &crate::fixtures::pair("proj_out", 1 << 20, 48, 16), &[]);
    let description = describe(&file).unwrap();
    assert_eq!((description.ranks, description.relative_change), ([(1 << 20, 1)].into(), None));
}

#[test]
fn metadata_beyond_any_config_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.safetensors");
    let long = format!(r#"{{"x": "{}"}}"#, "x".repeat(2 << 20));
    let tensors = crate::fixtures::pair("proj_out", 1, 48, 16);
    crate::fixtures::write(&file, &tensors, &[("lora_adapter_metadata", &long)]);
    let error = describe(&file).unwrap_err().to_string();
    assert!(error.contains("lora_adapter_metadata: expected JSON of at most 1 MiB"), "{error}");
}

#[test]
fn an_adapter_cut_short_anywhere_is_refused() {
    let bytes = fs::read(path("ranks.safetensors")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.safetensors");
    for length in (0..bytes.len()).step_by(97) {
        fs::write(&file, &bytes[..length]).unwrap();
        assert!(Adapter::open(&file, None).is_err(), "{length}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn any_bytes_are_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        open(&bytes);
        open(&framed(&String::from_utf8_lossy(&bytes), &bytes));
    }

    #[test]
    fn bytes_changed_anywhere_in_a_real_file_make_no_panic(
        name in prop::sample::select(vec!["mixed.safetensors", "dora.safetensors"]),
        changes in proptest::collection::vec((0usize..6000, any::<u8>()), 1..6),
    ) {
        let mut bytes = fs::read(path(name)).unwrap();
        for (at, byte) in changes {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        open(&bytes);
    }

    #[test]
    fn headers_put_together_from_real_parts_make_no_panic(
        tensors in proptest::collection::vec((
            "(transformer\\.|lora_unet__|base_model\\.model\\.|)",
            prop::sample::select(vec![
                "proj_out", "patch_embed.proj", "patch_embed_proj", "transformer_blocks.0.attn1.to_q",
                "transformer_blocks.99999999999.attn1.to_q", "transformer_blocks_0_ff_net_2",
            ]),
            prop::sample::select(vec![
                ".lora_A.weight", ".lora_B.weight", ".lora_down.weight", ".lora_up.weight", ".alpha",
                ".dora_scale", ".lora_B.bias", ".lora_magnitude_vector",
            ]),
            prop::sample::select(vec!["F32", "F16", "BF16", "I64", "U8"]),
            proptest::collection::vec(0usize..5, 0..5),
        ), 0..6),
        metadata in "(|\\{\\}|\\{\"transformer.lora_alpha\": [0-9]{1,3}\\}|\\{\"transformer.alpha_pattern\": \\{\"[a-z.*(\\[]{0,6}\": 1\\}\\})",
    ) {
        let mut header = serde_json::Map::new();
        let mut next = 0;
        for (prefix, module, part, dtype, shape) in tensors {
            let size = match dtype { "I64" => 8, "F32" => 4, "U8" => 1, _ => 2 };
            let end = next + size * shape.iter().product::<usize>();
            let entry = serde_json::json!({"dtype": dtype, "shape": shape, "data_offsets": [next, end]});
            let name = format!("{prefix}{module}{part}");
            if !header.contains_key(&name) {
                header.insert(name, entry);
                next = end;
            }
        }
        header.insert("__metadata__".to_owned(), serde_json::json!({"lora_adapter_metadata": metadata}));
        open(&framed(&serde_json::Value::Object(header).to_string(), &vec![0x3c; next]));
    }
}
