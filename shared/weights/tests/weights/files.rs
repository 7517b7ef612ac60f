//! Files to test with.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::Path,
};

use safetensors::{Dtype, tensor::TensorView};

/// A tensor to write: name, dtype, shape, bytes.
pub(crate) type Written = (String, Dtype, Vec<usize>, Vec<u8>);

pub(crate) fn f32(name: &str, shape: &[usize], values: &[f32]) -> Written {
    let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    (name.to_owned(), Dtype::F32, shape.to_vec(), bytes)
}

pub(crate) fn write(path: &Path, tensors: &[Written]) {
    let views: Vec<(&str, TensorView<'_>)> = tensors
        .iter()
        .map(|(name, dtype, shape, bytes)| {
            (name.as_str(), TensorView::new(*dtype, shape.clone(), bytes).unwrap())
        })
        .collect();
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    safetensors::serialize_to_file(views, Some(metadata), path).unwrap();
}

pub(crate) fn write_index(path: &Path, weight_map: &[(&str, &str)]) {
    let weight_map: BTreeMap<_, _> = weight_map.iter().copied().collect();
    let index = serde_json::json!({ "metadata": { "total_size": 0 }, "weight_map": weight_map });
    fs::write(path, index.to_string()).unwrap();
}
