#![allow(clippy::unwrap_used, reason = "a test may fail")]

use cogwheel_engine::{SessionOptions, VariantMaker};
use cogwheel_graph::{Dim, GraphBuilder};
use cogwheel_tensor::{DType, Tensor};

use super::*;

/// Bytes of a variant.
const SIZE: u64 = 4 * WIDTH as u64 * WIDTH as u64;
const WIDTH: usize = 2048;

fn id(number: u8) -> VariantId {
    VariantId::from_bytes([number; 32])
}

/// A variant of one weight, all of whose pages are touched.
fn variant(maker: &VariantMaker) -> Variant {
    let mut variant = maker.begin();
    let weight = Tensor::from_f32([WIDTH, WIDTH], vec![0.5; WIDTH * WIDTH]).unwrap();
    variant.add("layer.weight", weight).unwrap();
    variant.finish()
}

fn maker() -> VariantMaker {
    let mut g = GraphBuilder::new("one_layer");
    let dims = [Dim::Free("rows"), Dim::Fixed(WIDTH)];
    let x = g.input("x", DType::F32, &dims).unwrap();
    let weight = g.weight("layer.weight", DType::F32, &[WIDTH, WIDTH]);
    let y = g.linear(&x, &weight, None).unwrap();
    g.output("y", &y, &dims).unwrap();
    let options = SessionOptions { matrix_unit: false, variants: true, ..Default::default() };
    VariantMaker::of(&g.finish(), &options, DType::F32)
}

fn kept(resident: &Resident) -> Vec<u8> {
    (0..=255).filter(|number| resident.kept.contains_key(&id(*number))).collect()
}

#[test]
fn pinned_variants_stay_whatever_else_is_used() {
    let (maker, mut resident) = (maker(), Resident::new(3 * SIZE, None));
    resident.insert(id(1), variant(&maker));
    assert!(resident.pin(&id(1), true));
    for number in 2..5 {
        resident.insert(id(number), variant(&maker));
    }
    assert_eq!(kept(&resident), [1, 3, 4]);
    assert!(!resident.pin(&id(2), true), "what is gone cannot be pinned");
    for number in [3, 4] {
        resident.pin(&id(number), true);
    }
    resident.insert(id(5), variant(&maker));
    assert_eq!(kept(&resident), [1, 3, 4], "there is no place beside the pinned ones");
    resident.pin(&id(3), false);
    resident.insert(id(5), variant(&maker));
    assert_eq!(kept(&resident), [1, 4, 5], "who is pinned no more goes like any other");
}

#[test]
fn a_request_that_needs_the_memory_gets_it_and_even_pinned_variants_go() {
    let (maker, mut resident) = (maker(), Resident::new(3 * SIZE, Some(4 * SIZE)));
    for number in 1..4 {
        resident.insert(id(number), variant(&maker));
    }
    resident.pin(&id(1), true);
    resident.run(2 * SIZE, None);
    assert_eq!(kept(&resident), [1, 3]);
    resident.run(4 * SIZE, None);
    assert_eq!(kept(&resident), [0; 0]);
    // A variant that has no place among those that are kept counts beside them.
    let own = variant(&maker);
    resident.run(SIZE, Some((&id(4), &own)));
    for number in 5..8 {
        resident.insert(id(number), variant(&maker));
    }
    assert_eq!(kept(&resident), [6, 7]);
    resident.ended();
    resident.insert(id(8), variant(&maker));
    assert_eq!(kept(&resident), [6, 7, 8]);
}

/// The process's resident bytes.
#[cfg(target_os = "linux")]
fn resident_set() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

/// Other tests of this process may take and free some megabytes meanwhile.
#[cfg(target_os = "linux")]
#[test]
fn memory_of_variants_that_are_let_go_returns_to_the_system() {
    let (maker, mut resident) = (maker(), Resident::new(8 * SIZE, None));
    let before = resident_set();
    for number in 0..8 {
        resident.insert(id(number), variant(&maker));
    }
    let full = resident_set() - before;
    assert!(full >= 7 * SIZE, "8 variants of {SIZE} bytes, {full} resident");
    resident.memory = Some(2 * SIZE);
    resident.keep_within_budget();
    let left = resident_set().saturating_sub(before);
    assert!(left <= 4 * SIZE, "2 variants of {SIZE} bytes, {left} resident");
}
