use std::collections::HashSet;

use cogwheel_weights::{Digest, NoDigest, Weights};
use safetensors::Dtype;

use crate::files::{Written, f32, write, write_index};

fn digest(tensors: &[Written]) -> Digest {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("model.safetensors"), tensors);
    Weights::open(dir.path(), "model").unwrap().digest()
}

#[test]
fn the_digest_is_of_the_tensors_and_not_of_their_files() {
    let tensors = [f32("a", &[2], &[1.0, 2.0]), f32("b", &[1], &[3.0])];
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("1.safetensors"), &tensors[1..]);
    write(&dir.path().join("2.safetensors"), &tensors[..1]);
    write_index(
        &dir.path().join("model.safetensors.index.json"),
        &[("b", "1.safetensors"), ("a", "2.safetensors")],
    );
    let sharded = Weights::open(dir.path(), "model").unwrap();
    assert_eq!(sharded.digest(), digest(&tensors));
    assert_eq!(sharded.digest().to_string().len(), 64);
}

#[test]
fn whatever_changes_in_a_tensor_changes_the_digest() {
    let bytes = vec![0u8, 0, 128, 63, 0, 0, 0, 64];
    let tensor = |name: &str, dtype, shape: &[usize]| {
        (name.to_owned(), dtype, shape.to_vec(), bytes.clone())
    };
    let digests: HashSet<Digest> = [
        digest(&[tensor("a", Dtype::F32, &[2])]),
        digest(&[tensor("b", Dtype::F32, &[2])]),
        digest(&[tensor("a", Dtype::I32, &[2])]),
        digest(&[tensor("a", Dtype::F32, &[1, 2])]),
        digest(&[tensor("a", Dtype::F32, &[2, 1])]),
        digest(&[f32("a", &[2], &[1.0, 2.5])]),
        digest(&[tensor("a", Dtype::F32, &[2]), f32("c", &[1], &[0.0])]),
    ]
    .into();
    assert_eq!(digests.len(), 7);
}

#[test]
fn the_digest_of_bytes_is_plain_blake3() {
    // The test vector of BLAKE3 for no input.
    let expected = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
    let digest = Digest::of(b"");
    assert_eq!(digest.to_string(), expected);
    assert_eq!(Digest::from_bytes(*digest.as_bytes()), digest);
}

#[test]
fn a_digest_is_read_back_from_its_64_digits_and_from_nothing_else() {
    let digest = Digest::of(b"cogwheel");
    let text = digest.to_string();
    assert_eq!(text.parse(), Ok(digest));
    let others = ["", "neon", &text[1..], &format!("{text}0"), &text.to_uppercase()];
    for other in others.into_iter().chain([&*format!("{}g", &text[1..]), &*"é".repeat(32)]) {
        assert_eq!(other.parse::<Digest>(), Err(NoDigest), "{other}");
    }
}
