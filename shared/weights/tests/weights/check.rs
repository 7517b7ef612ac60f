use cogwheel_weights::{ExpectedTensor, Strictness, Weights};
use safetensors::Dtype;

use crate::files::{Written, f32, write};

fn check(tensors: &[Written], expected: &[(&str, &[usize])], strictness: Strictness) -> String {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("model.safetensors"), tensors);
    let expected: Vec<_> =
        expected.iter().map(|(name, shape)| ExpectedTensor::new(*name, *shape)).collect();
    let weights = Weights::open(dir.path(), "model").unwrap();
    match weights.check(&expected, strictness) {
        Ok(()) => "fits".to_owned(),
        Err(error) => error.to_string().replace(&format!("{}/", dir.path().display()), ""),
    }
}

#[test]
fn what_the_config_calls_for_fits() {
    let tensors = [f32("a", &[1, 2], &[0.0; 2]), f32("b", &[1], &[0.0])];
    assert_eq!(check(&tensors, &[("b", &[1]), ("a", &[1, 2])], Strictness::Exact), "fits");
}

#[test]
fn all_that_differs_is_said_at_once() {
    let int = ("i".to_owned(), Dtype::I8, vec![1], vec![0]);
    let tensors = [f32("a", &[2, 1], &[0.0; 2]), int, f32("z", &[1], &[0.0])];
    assert_eq!(
        check(&tensors, &[("a", &[1, 2]), ("b", &[1]), ("i", &[1])], Strictness::Exact),
        "model.safetensors: 1 tensor missing: 'b'; 1 tensor of another shape: 'a': expected shape [1, 2], found [2, 1]; \
         1 tensor of another dtype: 'i': expected F32, F16 or BF16, found I8; 1 tensor not called for: 'z'"
    );
}

#[test]
fn a_foreign_file_is_told_apart_from_a_damaged_one() {
    let tensors = [f32("x", &[1], &[0.0])];
    let names = ["a", "b", "c", "d", "e"].map(|name| (name, &[1usize][..]));
    assert_eq!(
        check(&tensors, &names, Strictness::Exact),
        "model.safetensors: none of the 5 tensors that the config calls for are among the 1 here; \
         5 tensors missing: 'a', 'b', 'c' and 2 more; 1 tensor not called for: 'x'"
    );
}

#[test]
fn further_tensors_are_let_be_only_where_the_caller_says_so() {
    let tensors = [f32("a", &[1], &[0.0]), f32("tied", &[1], &[0.0])];
    let expected: &[(&str, &[usize])] = &[("a", &[1])];
    let refused = "model.safetensors: 1 tensor not called for: 'tied'";
    assert_eq!(check(&tensors, expected, Strictness::Exact), refused);
    assert_eq!(check(&tensors, expected, Strictness::AllowExtra), "fits");
}
