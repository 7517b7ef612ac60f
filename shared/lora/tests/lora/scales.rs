//! Where an adapter's scale comes from.

use cogwheel_lora::{Adapter, AlphaSource, Model};
use safetensors::Dtype;

use crate::fixtures::{Written, base, describe, f32s, pair, path, read, write};

/// In the last block, so that nothing is missing after it.
const Q: &str = "transformer_blocks.1.attn1.to_q";

/// An adapter of rank 4 for one layer, and what a target of it says.
fn check(
    more: Vec<Written>,
    metadata: &str,
    alpha: f64,
    source: AlphaSource,
    ratio: f64,
) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.safetensors");
    let mut tensors = pair(Q, 4, 48, 48);
    tensors.extend(more);
    let metadata = [("lora_adapter_metadata", metadata)];
    write(&file, &tensors, if metadata[0].1.is_empty() { &[] } else { &metadata });
    let description = describe(&file).unwrap();
    let [group] = description.alphas[..] else { panic!("{:?}", description.alphas) };
    assert_eq!((group.alpha, group.source, group.targets), (alpha, source, 1));
    assert_eq!((description.scales[0].scale, description.scales.len()), (ratio, 1));
    description.warnings
}

fn alpha(value: f32) -> Vec<Written> {
    vec![f32s(&format!("transformer.{Q}.alpha"), &[], &[value])]
}

#[test]
fn without_a_word_alpha_is_the_rank_and_it_says_so() {
    let warnings = check(Vec::new(), "", 4.0, AlphaSource::Rank, 1.0);
    assert_eq!(
        warnings[0],
        "1 of 1 layers: no alpha is stated, taken to be the rank: a scale of 1"
    );
}

#[test]
fn alpha_comes_from_the_header_or_a_tensor() {
    let metadata = r#"{"transformer.r": 4, "transformer.lora_alpha": 6}"#;
    assert_eq!(check(Vec::new(), metadata, 6.0, AlphaSource::Metadata, 1.5), [""; 0]);
    assert_eq!(check(alpha(2.0), "", 2.0, AlphaSource::Tensor, 0.5), [""; 0]);
    let of_text_encoder = r#"{"text_encoder.lora_alpha": 6}"#;
    check(Vec::new(), of_text_encoder, 4.0, AlphaSource::Rank, 1.0);
}

#[test]
fn the_header_goes_before_the_tensor_and_a_difference_is_said() {
    let metadata = r#"{"transformer.r": 8, "transformer.lora_alpha": 6}"#;
    let warnings = check(alpha(2.0), metadata, 6.0, AlphaSource::Metadata, 1.5);
    let expected = [
        "1 of 1 layers: the config states another rank than the matrices have",
        "1 of 1 layers: the config and the alpha tensor differ; the config is taken",
    ];
    assert_eq!(warnings, expected);
}

#[test]
fn rslora_divides_by_the_root() {
    let metadata = r#"{"transformer.lora_alpha": 6, "transformer.use_rslora": true}"#;
    check(Vec::new(), metadata, 6.0, AlphaSource::Metadata, 3.0);
}

#[test]
fn rslora_without_an_alpha_says_the_scale_that_it_comes_to() {
    let metadata = r#"{"transformer.use_rslora": true}"#;
    let warnings = check(Vec::new(), metadata, 4.0, AlphaSource::Rank, 2.0);
    let expected = "1 of 1 layers: no alpha is stated, taken to be the rank: a scale of 2";
    assert_eq!(warnings[0], expected);
}

#[test]
fn the_headers_word_on_rslora_goes_before_that_of_the_file_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("adapter_model.safetensors");
    let beside = r#"{"lora_alpha": 8, "use_rslora": true}"#;
    std::fs::write(dir.path().join("adapter_config.json"), beside).unwrap();
    for (header, scale) in [
        (Some(r#"{"transformer.lora_alpha": 8, "transformer.use_rslora": false}"#), 2.0),
        (None, 4.0),
    ] {
        let metadata: Vec<_> =
            header.into_iter().map(|header| ("lora_adapter_metadata", header)).collect();
        write(&file, &pair(Q, 4, 48, 48), &metadata);
        assert_eq!(describe(dir.path()).unwrap().scales[0].scale, scale);
    }
}

#[test]
fn an_alpha_of_zero_counts_as_none() {
    let warnings = check(alpha(0.0), "", 4.0, AlphaSource::Rank, 1.0);
    assert_eq!(warnings[0], "1 of 1 layers: an alpha of 0, taken for none");
}

#[test]
fn a_stated_alpha_replaces_what_was_found_and_can_be_taken_back() {
    let adapter = Adapter::open(&path("mixed.safetensors"), None).unwrap();
    let found = adapter.identity();
    let stated = adapter.with_alpha(Some(1.0)).unwrap();
    for target in stated.targets() {
        assert_eq!(target.alpha().source, AlphaSource::Stated);
        assert_eq!(target.ratio(), 1.0 / target.rank() as f64);
    }
    assert_ne!(stated.identity(), found);
    assert_eq!(stated.with_alpha(None).unwrap().identity(), found);
    for alpha in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let adapter = Adapter::open(&path("mixed.safetensors"), None).unwrap();
        let error = adapter.with_alpha(Some(alpha)).unwrap_err().to_string();
        assert_eq!(error, format!("alpha: expected a positive number, found {alpha}"));
    }
}

/// "No alpha is stated" once stood beside the alpha that was stated.
#[test]
fn what_is_odd_about_the_alphas_that_were_found_is_not_said_of_a_stated_one() {
    let (config, weights) = base();
    let model = Model::new(&config, Some(&weights));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.safetensors");
    write(&file, &pair(Q, 4, 48, 48), &[]);
    let found = Adapter::open(&file, None).unwrap();
    let warnings = |adapter: &Adapter| adapter.describe(&model).unwrap().warnings;
    assert!(warnings(&found)[0].contains("no alpha is stated"));
    let stated = found.clone().with_alpha(Some(2.0)).unwrap();
    assert_eq!(warnings(&stated), [""; 0]);
    assert_eq!(warnings(&stated.with_alpha(None).unwrap()), warnings(&found));
}

#[test]
fn an_alpha_that_is_no_positive_number_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.safetensors");
    let name = format!("transformer.{Q}.alpha");
    for (tensor, found) in [
        (f32s(&name, &[], &[-1.0]), "-1"),
        (f32s(&name, &[], &[f32::NAN]), "NaN"),
        (f32s(&name, &[2], &[1.0, 1.0]), "2 numbers"),
        (f32s(&name, &[0], &[]), "0 numbers"),
        ((name.clone(), Dtype::U8, vec![], vec![1]), "one of U8"),
    ] {
        let mut tensors = pair(Q, 4, 48, 48);
        tensors.push(tensor);
        write(&file, &tensors, &[]);
        let error = describe(&file).unwrap_err().to_string();
        let expected = format!("tensor '{name}': expected one positive number, found {found}");
        assert!(error.ends_with(&expected), "{error}");
    }
}

/// A file that SAT trained wants a scale of 1 / rank, and none of its names says so once it is exported.
#[test]
fn numbers_far_too_large_for_a_scale_of_one_are_pointed_out() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.safetensors");
    let (mut tensors, _) = read(&path("attention.safetensors"));
    for (_, _, _, bytes) in &mut tensors {
        for value in bytes.as_chunks_mut::<4>().0 {
            *value = (f32::from_le_bytes(*value) * 8.0).to_le_bytes();
        }
    }
    write(&file, &tensors, &[]);
    let description = describe(&file).unwrap();
    let warning = description.warnings.last().unwrap();
    let expected = "which is hardly meant; if SAT trained it, its scale is 1 / rank: state alpha=1";
    assert!(warning.ends_with(expected), "{warning}");
    assert!(description.relative_change.unwrap() > 1.0);
    let usual = describe(&path("attention.safetensors")).unwrap();
    assert!(usual.relative_change.unwrap() < 1.0, "{:?}", usual.relative_change);
    assert!(!usual.warnings.iter().any(|warning| warning.contains("SAT")));
}

#[test]
fn sats_own_names_are_pointed_out() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.safetensors");
    let layer = "model.diffusion_model.transformer.layers.0.attention.dense";
    let tensors = [("A", [4, 48]), ("B", [48, 4])].map(|(matrix, shape)| {
        crate::fixtures::filled(&format!("{layer}.matrix_{matrix}.0"), &shape)
    });
    write(&file, &tensors, &[]);
    let description = describe(&file).unwrap();
    let expected = "its names are SAT's; if SAT trained it, its scale is 1 / rank: state alpha=1";
    assert_eq!(description.warnings.last().unwrap(), expected);
}
