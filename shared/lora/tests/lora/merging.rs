use std::{
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use cogwheel_lora::{Adapter, MergeError, MergeOptions, Model, Recipe, merge};
use cogwheel_tensor::DType;
use cogwheel_weights::Weights;
use proptest::prelude::*;

use crate::fixtures::{adapter, base, merged, merged_by, pair, path, root, transformer, write};

/// Both sides add products of fp32 in an order of their own.
const FP32: f64 = 1e-6;

fn check(case: &str, adapters: &[(&str, f32)]) {
    let (_, weights) = base();
    let adapters: Vec<(Arc<Adapter>, f32)> =
        adapters.iter().map(|(name, scale)| (adapter(name), *scale)).collect();
    let ours = merged(&weights, &adapters, DType::F32).unwrap();
    let reference = Weights::open_file(&path("merged.safetensors")).unwrap();
    let theirs: Vec<_> = reference
        .iter()
        .filter_map(|view| Some((view.name.strip_prefix(case)?.strip_prefix('/')?, view.name)))
        .collect();
    let names: Vec<&str> = theirs.iter().map(|(name, _)| *name).collect();
    assert_eq!(ours.keys().collect::<Vec<_>>(), names, "{case}: changed tensors");
    for (name, key) in theirs {
        let theirs = reference.tensor(key).unwrap();
        let (ours, theirs) = (ours[name].as_f32().unwrap(), theirs.as_f32().unwrap());
        assert_eq!(ours.len(), theirs.len());
        let square = |x: f32| f64::from(x).powi(2);
        let difference: f64 = ours.iter().zip(theirs.iter()).map(|(a, b)| square(a - b)).sum();
        let error = (difference / theirs.iter().map(|&x| square(x)).sum::<f64>()).sqrt();
        assert!(error <= FP32, "{case}: {name}: relative error {error:e}");
    }
}

#[test]
fn one_adapter_merges_as_peft_fuses_it() {
    check("one", &[("attention.safetensors", 0.7)]);
}

#[test]
fn mixed_ranks_without_an_alpha_have_a_scale_of_one_each() {
    check("ranks", &[("ranks.safetensors", -0.4)]);
}

#[test]
fn several_adapters_with_patterns_biases_convolutions_and_rslora_merge_as_peft_fuses_them() {
    check(
        "several",
        &[("mixed.safetensors", 0.7), ("rslora.safetensors", -0.4), ("ranks.safetensors", 1.0)],
    );
}

#[test]
fn a_dora_merges_as_peft_fuses_it() {
    check("dora", &[("dora.safetensors", 0.7)]);
}

#[test]
fn a_dora_at_scale_zero_still_sets_the_norms() {
    check("dora_at_zero", &[("decomposed.safetensors", 0.0)]);
}

#[test]
fn several_doras_merge_in_their_order() {
    let [dora, ranks, other] =
        [("dora.safetensors", 0.7), ("ranks.safetensors", -0.4), ("decomposed.safetensors", 1.3)];
    check("doras", &[dora, ranks, other]);
    check("doras_in_another_order", &[other, ranks, dora]);
}

#[test]
fn a_peft_folder_takes_its_alphas_from_the_config_beside() {
    check("peft", &[("peft", 1.0)]);
}

#[test]
fn a_scale_of_zero_is_the_base_to_the_bit() {
    let (_, weights) = base();
    assert!(
        merged(&weights, &[(adapter("mixed.safetensors"), 0.0)], DType::F32).unwrap().is_empty()
    );
    let other = adapter("attention.safetensors");
    let alone = merged(&weights, &[(other.clone(), 0.7)], DType::F32).unwrap();
    let both = [(adapter("mixed.safetensors"), -0.0), (other, 0.7)];
    assert_eq!(merged(&weights, &both, DType::F32).unwrap(), alone);
}

#[test]
fn the_result_is_rounded_once_to_the_precision_asked_for() {
    let (_, weights) = base();
    let adapters = [(adapter("mixed.safetensors"), 0.7), (adapter("dora.safetensors"), 1.0)];
    let exact = merged(&weights, &adapters, DType::F32).unwrap();
    for dtype in [DType::F16, DType::BF16] {
        for (name, rounded) in merged(&weights, &adapters, dtype).unwrap() {
            let exact = exact[&name].as_f32().unwrap();
            let expected: Vec<u8> = match dtype {
                DType::F16 => {
                    exact.iter().flat_map(|&x| half::f16::from_f32(x).to_le_bytes()).collect()
                }
                _ => exact.iter().flat_map(|&x| half::bf16::from_f32(x).to_le_bytes()).collect(),
            };
            assert_eq!(
                (rounded.dtype(), rounded.bytes().as_ref()),
                (dtype, &expected[..]),
                "{name}"
            );
        }
    }
}

#[test]
fn the_order_of_plain_adapters_changes_no_bit() {
    let (_, weights) = base();
    let adapters = ["attention.safetensors", "ranks.safetensors", "rslora.safetensors"]
        .map(|name| (adapter(name), 0.3));
    let reversed: Vec<_> = adapters.iter().rev().cloned().collect();
    let expected = merged(&weights, &adapters, DType::F32).unwrap();
    assert_eq!(merged(&weights, &reversed, DType::F32).unwrap(), expected);
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let (_, weights) = base();
    let adapters = [(adapter("mixed.safetensors"), 0.7), (adapter("dora.safetensors"), -0.4)];
    let expected = merged_by(1, &weights, &adapters, DType::BF16).unwrap();
    for threads in [0, 2, 5] {
        assert_eq!(merged_by(threads, &weights, &adapters, DType::BF16).unwrap(), expected);
    }
}

#[test]
fn changed_tensors_come_in_the_order_of_their_names_and_are_counted() {
    let (_, weights) = base();
    let recipe = Recipe::new(vec![(adapter("mixed.safetensors"), 1.0)]).unwrap();
    let mut names = Vec::new();
    let options = MergeOptions { threads: 1, dtype: DType::F32 };
    merge(&weights, &recipe, &options, &|| false, |changed| {
        assert_eq!((changed.index, changed.total), (names.len(), 18));
        names.push(changed.name);
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(names, recipe.changed_tensors());
    assert!(names.is_sorted() && names.len() == 18);
}

#[test]
fn a_base_of_bfloats_in_shards_is_widened_before_it_is_changed() {
    let (config, weights) = transformer(&root().join("tests/data/checkpoints/rope/transformer"));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.safetensors");
    let tensors = pair("transformer_blocks.1.ff.net.2", 5, 256, 64);
    write(&file, &tensors, &[]);
    let adapter = Arc::new(Adapter::open(&file, None).unwrap());
    adapter.describe(&Model::new(&config, Some(&weights))).unwrap();
    let name = "transformer_blocks.1.ff.net.2.weight";
    let merged = merged(&weights, &[(adapter, 0.7)], DType::F32).unwrap();
    let values = |bytes: &[u8]| -> Vec<f32> {
        bytes.as_chunks::<4>().0.iter().map(|&value| f32::from_le_bytes(value)).collect()
    };
    let (a, b) = (values(&tensors[0].3), values(&tensors[1].3));
    let base = weights.tensor_as(name, DType::F32).unwrap();
    let pairs =
        merged[name].as_f32().unwrap().to_vec().into_iter().zip(base.as_f32().unwrap().to_vec());
    for (at, (found, base)) in pairs.enumerate() {
        let (row, column) = (at / 256, at % 256);
        let product: f64 =
            (0..5).map(|k| f64::from(b[row * 5 + k]) * f64::from(a[k * 256 + column])).sum();
        let expected = f64::from(base) + 0.7 * product;
        assert!((f64::from(found) - expected).abs() <= FP32, "{at}: {found} {expected}");
    }
}

#[test]
fn the_changed_bytes_are_known_before_merging() {
    let (_, weights) = base();
    let adapters = vec![(adapter("mixed.safetensors"), 1.0)];
    let recipe = Recipe::new(adapters.clone()).unwrap();
    for dtype in [DType::F32, DType::BF16] {
        let bytes: usize = merged(&weights, &adapters, dtype)
            .unwrap()
            .values()
            .map(|tensor| tensor.bytes().len())
            .sum();
        assert_eq!(recipe.changed_bytes(&weights, dtype), bytes as u64);
    }
}

#[test]
fn a_merge_that_nobody_wants_any_more_ends() {
    let (_, weights) = base();
    let recipe = Recipe::new(vec![(adapter("attention.safetensors"), 1.0)]).unwrap();
    let options = MergeOptions { threads: 2, dtype: DType::F32 };
    let seen = AtomicUsize::new(0);
    let cancelled = || seen.load(Ordering::Relaxed) == 2;
    let count = |_| {
        seen.fetch_add(1, Ordering::Relaxed);
        ControlFlow::Continue(())
    };
    let error = merge(&weights, &recipe, &options, &cancelled, count).unwrap_err();
    assert!(matches!(error, MergeError::Cancelled));
    assert_eq!(seen.into_inner(), 2);
    let broken = merge(&weights, &recipe, &options, &|| false, |_| ControlFlow::Break(()));
    assert!(matches!(broken.unwrap_err(), MergeError::Cancelled));
}

#[test]
fn a_scale_that_leaves_the_range_of_the_precision_is_refused() {
    let (_, weights) = base();
    let error =
        merged(&weights, &[(adapter("attention.safetensors"), 1e9)], DType::F16).unwrap_err();
    let expected = "tensor 'transformer_blocks.0.attn1.to_k.weight': expected finite values in F16 after merging, \
                    found NaN or infinity: lower the scales";
    assert_eq!(error.to_string(), expected);
}

/// A scale that is rounded away made the model itself, and said nothing.
#[test]
fn a_scale_that_rounding_leaves_nothing_of_is_refused_and_zero_is_not() {
    let (_, weights) = base();
    for (scale, dtype) in [(1e-30, DType::F32), (1e-30, DType::BF16), (1e-12, DType::F16)] {
        let error = merged(&weights, &[(adapter("attention.safetensors"), scale)], dtype);
        assert!(matches!(error, Err(MergeError::NoEffect { .. })), "{scale} in {dtype}");
    }
    let one = merged(&weights, &[(adapter("attention.safetensors"), 1e-6)], DType::F32);
    assert!(one.is_ok(), "fp32 holds it");
    let zero = merged(&weights, &[(adapter("dora.safetensors"), 0.0)], DType::F32);
    assert!(zero.is_ok(), "a DoRA's norms remain");
}

#[test]
fn a_base_of_another_shape_and_an_integer_precision_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.safetensors");
    let (_, weights) = base();
    write(&file, &pair("transformer_blocks.0.attn1.to_q", 2, 48, 40), &[]);
    let adapter = Arc::new(Adapter::open(&file, None).unwrap());
    let error = merged(&weights, &[(adapter.clone(), 1.0)], DType::F32).unwrap_err();
    let expected = "tensor 'transformer_blocks.0.attn1.to_q.weight': expected shape [40, 48], as the adapters have it, \
                    found [48, 48]";
    assert_eq!(error.to_string(), expected);
    let error = merged(&weights, &[(adapter, 1.0)], DType::I8).unwrap_err();
    assert_eq!(error.to_string(), "precision: expected F32, F16 or BF16, found I8");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn merging_is_linear_in_the_scale(scale in -4.0f32..4.0) {
        let (_, weights) = base();
        let name = "transformer_blocks.0.attn1.to_k.weight";
        let of = |scale: f32| {
            let tensors = merged(&weights, &[(adapter("rslora.safetensors"), scale)], DType::F32).unwrap();
            tensors.get(name).map(|tensor| tensor.as_f32().unwrap().to_vec())
        };
        let pristine = weights.tensor(name).unwrap();
        let pristine = pristine.as_f32().unwrap();
        let (one, scaled) = (of(1.0).unwrap(), of(scale).unwrap_or_else(|| pristine.to_vec()));
        for ((one, scaled), base) in one.iter().zip(&scaled).zip(pristine.iter()) {
            let expected = base + scale * (one - base);
            prop_assert!((scaled - expected).abs() <= 1e-6 * (1.0 + scale.abs()), "{scaled} {expected}");
        }
    }
}
