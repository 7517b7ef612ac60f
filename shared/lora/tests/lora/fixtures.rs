//! Adapters and models to test with.

use std::{
    collections::{BTreeMap, HashMap},
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::Arc,
};

use cogwheel_lora::{
    Adapter, AdapterError, Description, MergeError, MergeOptions, Model, Recipe, merge,
};
use cogwheel_models::config::TransformerConfig;
use cogwheel_tensor::{DType, Tensor};
use cogwheel_weights::Weights;
use safetensors::{Dtype, tensor::TensorView};

pub(crate) const STEM: &str = "diffusion_pytorch_model";

pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A file of `tools/reference/adapters.py`.
pub(crate) fn path(name: &str) -> PathBuf {
    root().join("tests/data/adapters").join(name)
}

pub(crate) fn adapter(name: &str) -> Arc<Adapter> {
    Arc::new(Adapter::open(&path(name), None).unwrap())
}

/// The tiny sin-cos transformer.
pub(crate) fn base() -> (TransformerConfig, Weights) {
    transformer(&root().join("tests/data/checkpoints/sincos/transformer"))
}

pub(crate) fn transformer(folder: &Path) -> (TransformerConfig, Weights) {
    let config = TransformerConfig::read(&folder.join("config.json")).unwrap();
    (config, Weights::open(folder, STEM).unwrap())
}

/// Opens an adapter and checks it against the tiny transformer.
pub(crate) fn describe(path: &Path) -> Result<Description, AdapterError> {
    let (config, weights) = base();
    Adapter::open(path, None)?.describe(&Model::new(&config, Some(&weights)))
}

pub(crate) fn merged(
    weights: &Weights,
    adapters: &[(Arc<Adapter>, f32)],
    dtype: DType,
) -> Result<BTreeMap<String, Tensor>, MergeError> {
    merged_by(2, weights, adapters, dtype)
}

pub(crate) fn merged_by(
    threads: usize,
    weights: &Weights,
    adapters: &[(Arc<Adapter>, f32)],
    dtype: DType,
) -> Result<BTreeMap<String, Tensor>, MergeError> {
    let recipe = Recipe::new(adapters.to_vec()).unwrap();
    let mut tensors = BTreeMap::new();
    merge(weights, &recipe, &MergeOptions { threads, dtype }, &|| false, |changed| {
        tensors.insert(changed.name, changed.tensor);
        ControlFlow::Continue(())
    })?;
    Ok(tensors)
}

/// A tensor to write: name, dtype, shape, bytes.
pub(crate) type Written = (String, Dtype, Vec<usize>, Vec<u8>);

pub(crate) fn f32s(name: &str, shape: &[usize], values: &[f32]) -> Written {
    let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    (name.to_owned(), Dtype::F32, shape.to_vec(), bytes)
}

/// So many numbers, none of them zero.
pub(crate) fn filled(name: &str, shape: &[usize]) -> Written {
    let values: Vec<f32> =
        (0..shape.iter().product()).map(|i: usize| ((i % 13) as f32 - 6.5) * 0.01).collect();
    f32s(name, shape, &values)
}

pub(crate) fn write(path: &Path, tensors: &[Written], metadata: &[(&str, &str)]) {
    let views: Vec<(&str, TensorView<'_>)> = tensors
        .iter()
        .map(|(name, dtype, shape, bytes)| {
            (name.as_str(), TensorView::new(*dtype, shape.clone(), bytes).unwrap())
        })
        .collect();
    let metadata: HashMap<String, String> =
        metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    safetensors::serialize_to_file(views, Some(metadata), path).unwrap();
}

/// The tensors of a file, to be written again under other names.
pub(crate) fn read(path: &Path) -> (Vec<Written>, Vec<(String, String)>) {
    let weights = Weights::open_file(path).unwrap();
    let tensors = weights
        .iter()
        .map(|view| {
            assert_eq!(view.dtype, DType::F32);
            (view.name.to_owned(), Dtype::F32, view.shape.to_vec(), view.bytes.to_vec())
        })
        .collect();
    let metadata = weights.metadata().iter().map(|(k, v)| (k.clone(), v.clone())).collect();
    (tensors, metadata)
}

/// A pair of matrices for a layer, under diffusers' names.
pub(crate) fn pair(module: &str, rank: usize, input: usize, output: usize) -> Vec<Written> {
    vec![
        filled(&format!("transformer.{module}.lora_A.weight"), &[rank, input]),
        filled(&format!("transformer.{module}.lora_B.weight"), &[output, rank]),
    ]
}
