use std::collections::HashMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use cogwheel_lora::{Adapter, MergeError, MergeOptions, Model, Recipe, merge};
use cogwheel_models::checkpoint::Checkpoint;
use cogwheel_service::Fatal;
use cogwheel_tensor::{DType, Tensor};
use cogwheel_weights::Weights;
use safetensors::tensor::TensorView;

use crate::args::Lora;

const CONFIG: &str = "config.json";
const WEIGHTS: &str = "diffusion_pytorch_model.safetensors";

/// Writes a transformer folder whose weights have the adapters in them, in the checkpoint's dtype.
/// The folder appears when it is whole, and not at all when it `is_interrupted`.
///
/// # Errors
/// A checkpoint or adapter that will not do, and an output that is there already or cannot be
/// written.
pub(super) fn run(
    model: &Path,
    loras: &[Lora],
    output: &Path,
    is_interrupted: &(dyn Fn() -> bool + Sync),
) -> Result<(), Fatal> {
    let parent = parent(output)?;
    let checkpoint = Checkpoint::open(model).map_err(Fatal::usage)?;
    let weights = checkpoint.weights_transformer().map_err(Fatal::usage)?;
    let recipe = recipe(loras, &checkpoint, &weights)?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let options = MergeOptions { threads, dtype: weights.dtype() };
    let mut changed = HashMap::new();
    let merged = merge(&weights, &recipe, &options, is_interrupted, |tensor| {
        changed.insert(tensor.name, tensor.tensor);
        ControlFlow::Continue(())
    });
    merged.map_err(Fatal::usage)?;

    let unwritten = |error: &dyn std::fmt::Display| {
        Fatal::usage(format!("--output {}: {error}", output.display()))
    };
    let folder = incoming(parent).map_err(|error| unwritten(&error))?;
    let config = model.join("transformer").join(CONFIG);
    fs::copy(&config, folder.path().join(CONFIG)).map_err(|error| unwritten(&error))?;
    let path = folder.path().join(WEIGHTS);
    write(&weights, &changed, &path).map_err(|error| unwritten(&error))?;
    // safetensors makes files that only their owner reads; the model's are for whoever reads its config.
    let like_config = fs::metadata(folder.path().join(CONFIG)).map(|config| config.permissions());
    like_config
        .and_then(|permissions| fs::set_permissions(&path, permissions))
        .map_err(|error| unwritten(&error))?;
    if is_interrupted() {
        return Err(Fatal::failed(MergeError::Cancelled));
    }
    fs::rename(folder.path(), output).map_err(|error| unwritten(&error))?;
    // Nothing of that name is left to remove.
    let _ = folder.keep();
    super::print(&format!("{}\n", output.display()))
}

/// The folder that the output goes into.
fn parent(output: &Path) -> Result<&Path, Fatal> {
    let unfit = |expected: &str, found: &str| {
        let output = output.display();
        Fatal::usage(format!("--output {output}: expected {expected}, found {found}"))
    };
    if output.symlink_metadata().is_ok() {
        return Err(unfit("a folder that is not there yet", "one that is"));
    }
    let parent = match output.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => return Err(unfit("a folder's name", "none")),
    };
    if parent.is_dir() { Ok(parent) } else { Err(unfit("a folder to make it in", "nothing")) }
}

fn recipe(loras: &[Lora], checkpoint: &Checkpoint, weights: &Weights) -> Result<Recipe, Fatal> {
    let model = Model::new(&checkpoint.transformer, Some(weights));
    let mut adapters = Vec::new();
    for lora in loras {
        if lora.name.is_some() {
            return Err(Fatal::usage("--lora: expected no name= with merge, found one"));
        }
        let adapter = Adapter::open(&lora.path, lora.weight_name.as_deref())
            .and_then(|adapter| adapter.with_alpha(lora.alpha));
        let adapter = adapter.map_err(Fatal::usage)?;
        let description = adapter.describe(&model).map_err(Fatal::usage)?;
        for warning in &description.warnings {
            eprintln!("note: {}: {warning}", lora.path.display());
        }
        adapters.push((Arc::new(adapter), lora.scale.unwrap_or(1.0)));
    }
    Recipe::new(adapters).map_err(Fatal::usage)
}

/// A folder beside the output, removed unless it is kept.
fn incoming(parent: &Path) -> std::io::Result<tempfile::TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".cogwheel-merge-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        // As any other folder: the user's mask takes the rest away.
        builder.permissions(fs::Permissions::from_mode(0o777));
    }
    builder.tempdir_in(parent)
}

fn write(
    weights: &Weights,
    changed: &HashMap<String, Tensor>,
    path: &Path,
) -> Result<(), Box<dyn std::error::Error>> {
    let bases: Vec<_> = weights.iter().collect();
    let mut views = Vec::new();
    for base in &bases {
        let view = match changed.get(base.name) {
            Some(tensor) => {
                TensorView::new(dtype(tensor.dtype())?, tensor.shape().to_vec(), tensor.bytes())?
            }
            None => TensorView::new(dtype(base.dtype)?, base.shape.to_vec(), &base.bytes)?,
        };
        views.push((base.name.to_owned(), view));
    }
    // What torch writes, and what diffusers asks for.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    safetensors::serialize_to_file(views, Some(metadata), path)?;
    fs::File::open(path)?.sync_all()?;
    Ok(())
}

/// safetensors' word for a dtype.
fn dtype(dtype: DType) -> Result<safetensors::Dtype, serde_json::Error> {
    serde_json::from_value(dtype.name().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_interrupted_leaves_nothing() {
        let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
        let (model, path) = (root.join("demo/model"), root.join("demo/adapters/neon"));
        let folder = tempfile::tempdir().unwrap();
        let lora = Lora { path, weight_name: None, alpha: None, name: None, scale: None };
        let output = folder.path().join("merged");
        // At once, and when everything is written.
        for asked in [0, usize::MAX] {
            let times = std::sync::atomic::AtomicUsize::new(0);
            let is_interrupted = || {
                // Only `run` itself asks where there is nothing left to merge.
                let before = times.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                before >= asked || fs::read_dir(folder.path()).unwrap().next().is_some()
            };
            let result = run(&model, std::slice::from_ref(&lora), &output, &is_interrupted);
            assert!(result.is_err());
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        }
        run(&model, &[lora], &output, &|| false).unwrap();
        assert!(output.join(WEIGHTS).is_file());
    }
}
