use std::fs;

use cogwheel_tensor::{DType, Storage};
use cogwheel_weights::{Weights, WeightsError};
use half::{bf16, f16};
use safetensors::Dtype;

use crate::files::{Written, f32, write};

fn opened(tensors: &[Written]) -> Weights {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("model.safetensors"), tensors);
    Weights::open(dir.path(), "model").unwrap()
}

/// Values around every kind of rounding: ties to even, subnormals, overflow, infinities, NaN.
fn hard_values() -> Vec<f32> {
    let mut values = vec![
        0.0,
        -0.0,
        1.0,
        1.0 + f32::powi(2.0, -11),
        1.0 + 3.0 * f32::powi(2.0, -11),
        1.0 + f32::powi(2.0, -8),
        1.0 + 3.0 * f32::powi(2.0, -8),
        65504.0,
        65519.9,
        65520.0,
        -1e30,
        6e-8,
        3e-8,
        2.9e-8,
        f32::MIN_POSITIVE,
        1e-45,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        f32::MAX,
    ];
    // Above two pieces of the parallel conversion, and no multiple of any vector's width.
    values.extend((0..150_001u32).map(|i| f32::from_bits(i.wrapping_mul(2_654_435_761))));
    values
}

fn bits16(weights: &Weights, name: &str, dtype: DType) -> Vec<u16> {
    let tensor = weights.tensor_as(name, dtype).unwrap();
    assert_eq!(tensor.dtype(), dtype);
    tensor.bytes().chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]])).collect()
}

fn bits32(weights: &Weights, name: &str) -> Vec<u32> {
    let tensor = weights.tensor_as(name, DType::F32).unwrap();
    tensor.bytes().chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

/// Equal bits; where both are NaN, which NaN is free (hardware and software differ).
fn assert_same<T: Copy + PartialEq + std::fmt::Debug>(
    found: &[T],
    expected: &[T],
    is_nan: fn(T) -> bool,
) {
    assert_eq!(found.len(), expected.len());
    for (i, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        assert!(
            found == expected || (is_nan(found) && is_nan(expected)),
            "{i}: {found:?}, expected {expected:?}"
        );
    }
}

fn nan16(bits: u16) -> bool {
    f16::from_bits(bits).is_nan()
}

fn nan_b16(bits: u16) -> bool {
    bf16::from_bits(bits).is_nan()
}

/// Round to nearest, ties to even, by the definition.
fn bf16_bits(value: f32) -> u16 {
    let bits = value.to_bits();
    if value.is_nan() {
        return 0x7fc0;
    }
    ((u64::from(bits) + 0x7fff + u64::from(bits >> 16 & 1)) >> 16) as u16
}

#[test]
fn fp32_rounds_to_nearest_even() {
    let values = hard_values();
    let weights = opened(&[f32("a", &[values.len()], &values)]);
    let expected: Vec<u16> = values.iter().map(|&v| bf16_bits(v)).collect();
    assert_same(&bits16(&weights, "a", DType::BF16), &expected, nan_b16);
    let expected: Vec<u16> = values.iter().map(|&v| f16::from_f32_const(v).to_bits()).collect();
    assert_same(&bits16(&weights, "a", DType::F16), &expected, nan16);
    let half = bits16(&weights, "a", DType::F16);
    // 1 + 2^-11 is a tie, to even below; 1 + 3 x 2^-11 one to even above; 65520 is the first beyond the range.
    assert_eq!([half[3], half[4], half[9]], [0x3c00, 0x3c02, 0x7c00]);
}

#[test]
fn every_half_becomes_its_own_value_in_fp32() {
    let all: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
    let weights = opened(&[
        ("h".to_owned(), Dtype::F16, vec![256, 256], all.clone()),
        ("b".to_owned(), Dtype::BF16, vec![256, 256], all),
    ]);
    let nan = |bits| f32::from_bits(bits).is_nan();
    let expected: Vec<u32> =
        (0..=u16::MAX).map(|b| f16::from_bits(b).to_f32_const().to_bits()).collect();
    assert_same(&bits32(&weights, "h"), &expected, nan);
    let expected: Vec<u32> = (0..=u16::MAX).map(|b| u32::from(b) << 16).collect();
    assert_same(&bits32(&weights, "b"), &expected, nan);
    let expected: Vec<u16> =
        (0..=u16::MAX).map(|b| bf16_bits(f16::from_bits(b).to_f32_const())).collect();
    assert_same(&bits16(&weights, "h", DType::BF16), &expected, nan_b16);
    let expected: Vec<u16> = (0..=u16::MAX)
        .map(|b| f16::from_f32_const(f32::from_bits(u32::from(b) << 16)).to_bits())
        .collect();
    assert_same(&bits16(&weights, "b", DType::F16), &expected, nan16);
    assert_eq!(weights.tensor_as("h", DType::BF16).unwrap().shape(), [256, 256]);
}

#[test]
fn data_off_its_alignment_is_copied_to_where_it_can_be_used() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.safetensors");
    let values = [1.0f32, -2.5, 3.0];
    for padding in 0..8 {
        let header = format!(
            r#"{{"a":{{"dtype":"F32","shape":[3],"data_offsets":[0,12]}}{}}}"#,
            " ".repeat(padding)
        );
        let mut file = (header.len() as u64).to_le_bytes().to_vec();
        file.extend(header.as_bytes());
        file.extend(values.iter().flat_map(|v| v.to_le_bytes()));
        fs::write(&path, file).unwrap();
        let weights = Weights::open_file(&path).unwrap();
        let tensor = weights.tensor_as("a", DType::F32).unwrap();
        assert_eq!(tensor.bytes().as_ptr().addr() % 4, 0);
        assert_eq!(tensor.as_f32().unwrap().as_ref(), values);
        assert_eq!(weights.tensor("a").unwrap().as_f32().unwrap().as_ref(), values);
        let half = bits16(&weights, "a", DType::F16);
        assert_eq!(half, values.map(|v| f16::from_f32_const(v).to_bits()));
    }
}

#[test]
fn integers_stay_what_they_are() {
    let weights = opened(&[("i".to_owned(), Dtype::I64, vec![1], vec![7, 0, 0, 0, 0, 0, 0, 0])]);
    assert_eq!(weights.tensor_as("i", DType::I64).unwrap().as_i64().unwrap().as_ref(), [7]);
    let error = weights.tensor_as("i", DType::F32).unwrap_err();
    assert!(matches!(error, WeightsError::Conversion { .. }));
    assert_eq!(
        error.to_string(),
        "tensor 'i': expected F32 or a dtype that converts to it, found I64"
    );
}

#[test]
fn empty_tensors_convert_to_empty_tensors() {
    let weights = opened(&[f32("a", &[0, 4], &[]), f32("b", &[1], &[1.0])]);
    for dtype in [DType::F32, DType::F16, DType::BF16] {
        assert_eq!(weights.tensor_as("a", dtype).unwrap().shape(), [0, 4]);
    }
}

#[test]
fn what_is_stored_in_a_precision_is_rounded_to_it_but_for_what_is_exempt() {
    let values = [1.0 + f32::powi(2.0, -12), -3.3, 70_000.0];
    let weights = opened(&[f32("kept", &[3], &values), f32("rounded", &[3], &values)]);
    let weights = weights.stored_in(Storage::Bf16, |name| name == "kept");
    let expected = values.map(|value| f32::to_bits(bf16::from_f32(value).to_f32()));
    assert_eq!(bits32(&weights, "rounded"), expected);
    assert_eq!(bits32(&weights, "kept"), values.map(f32::to_bits));
    assert_eq!(weights.tensor_stored("rounded").unwrap().dtype(), DType::BF16);
    assert_eq!(weights.tensor_stored("kept").unwrap().dtype(), DType::F32);
    assert_eq!(weights.tensor("rounded").unwrap().dtype(), DType::F32, "as it lies on disk");
}
