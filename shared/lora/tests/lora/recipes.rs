//! When two variants are one.

use std::sync::Arc;

use cogwheel_lora::{Adapter, Recipe, VariantId};
use cogwheel_weights::Digest;

use crate::fixtures::{adapter, path};

fn id(adapters: &[(&str, f32)]) -> VariantId {
    let adapters = adapters.iter().map(|(name, scale)| (adapter(name), *scale)).collect();
    Recipe::new(adapters).unwrap().id(Digest::of(b"model"))
}

const A: (&str, f32) = ("attention.safetensors", 0.7);
const B: (&str, f32) = ("mixed.safetensors", -0.4);
const DORA: (&str, f32) = ("dora.safetensors", 1.0);

#[test]
fn plain_adapters_are_one_variant_in_any_order() {
    assert_eq!(id(&[A, B]), id(&[B, A]));
    assert_eq!(id(&[A, ("ranks.safetensors", 0.0), B]), id(&[B, A]), "a scale of 0 takes no part");
}

#[test]
fn the_order_counts_where_a_dora_is_in_the_mix() {
    assert_ne!(id(&[A, DORA]), id(&[DORA, A]));
    assert_ne!(id(&[A, B, DORA]), id(&[B, A, DORA]));
    assert_eq!(id(&[("dora.safetensors", 0.0)]), id(&[("dora.safetensors", -0.0)]));
    assert_ne!(id(&[("dora.safetensors", 0.0)]), id(&[]), "its norms remain");
}

#[test]
fn another_scale_alpha_adapter_or_model_is_another_variant() {
    let variants = [
        id(&[A]),
        id(&[B]),
        id(&[A, B]),
        id(&[A, A]),
        id(&[(A.0, -0.7)]),
        id(&[]),
        Recipe::new(vec![(adapter(A.0), A.1)]).unwrap().id(Digest::of(b"another")),
        Recipe::new(vec![(stated(A.0, 1.0), A.1)]).unwrap().id(Digest::of(b"model")),
    ];
    for (at, one) in variants.iter().enumerate() {
        assert!(!variants[at + 1..].contains(one), "{at}");
    }
    // The rank, which is what alpha is taken to be.
    let same = Recipe::new(vec![(stated(A.0, 4.0), A.1)]).unwrap().id(Digest::of(b"model"));
    assert_eq!(same, id(&[A]));
    assert_eq!(VariantId::from_bytes(*same.as_bytes()), same);
    assert_eq!(same.to_string().len(), 64);
}

#[test]
fn a_scale_that_is_no_number_is_refused() {
    for scale in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let error = Recipe::new(vec![(adapter(A.0), scale)]).unwrap_err().to_string();
        assert!(error.ends_with(&format!("expected a finite number, found {scale}")), "{error}");
    }
}

#[test]
fn a_recipe_without_effect_is_the_base() {
    assert!(Recipe::new(vec![(adapter(A.0), 0.0)]).unwrap().is_base());
    assert!(!Recipe::new(vec![(adapter(A.0), 0.1)]).unwrap().is_base());
}

fn stated(name: &str, alpha: f64) -> Arc<Adapter> {
    Arc::new(Adapter::open(&path(name), None).unwrap().with_alpha(Some(alpha)).unwrap())
}
