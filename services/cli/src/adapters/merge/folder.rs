use std::collections::HashMap;
use std::fmt::Display;
use std::fs;
use std::path::Path;

use cogwheel_service::Fatal;
use cogwheel_tensor::{DType, Tensor};
use cogwheel_weights::Weights;
use safetensors::tensor::TensorView;
use tempfile::TempDir;

const CONFIG: &str = "config.json";
pub(super) const WEIGHTS: &str = "diffusion_pytorch_model.safetensors";

/// A transformer folder to be made.
pub(super) struct Folder<'a> {
    output: &'a Path,
    parent: &'a Path,
}

/// One that is whole and stands beside its place, under another name; removed unless it is published.
pub(super) struct WholeFolder<'a> {
    output: &'a Path,
    folder: TempDir,
}

impl<'a> Folder<'a> {
    /// Checks the place.
    ///
    /// # Errors
    /// Where something is there already, or nothing to make it in.
    pub(super) fn new(output: &'a Path) -> Result<Self, Fatal> {
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
        if !parent.is_dir() {
            return Err(unfit("a folder to make it in", "nothing"));
        }
        Ok(Self { output, parent })
    }

    /// Writes the model's config and its weights, those that `changed` in their place.
    ///
    /// # Errors
    /// When they cannot be written.
    pub(super) fn write(
        self,
        model: &Path,
        weights: &Weights,
        changed: &[(String, Tensor)],
    ) -> Result<WholeFolder<'a>, Fatal> {
        let Self { output, parent } = self;
        let written = || -> Result<TempDir, Box<dyn std::error::Error>> {
            let folder = incoming(parent)?;
            let (config, path) = (folder.path().join(CONFIG), folder.path().join(WEIGHTS));
            fs::copy(model.join("transformer").join(CONFIG), &config)?;
            write(weights, changed, &path)?;
            // safetensors makes files that only their owner reads; the model's are for whoever reads its config.
            fs::set_permissions(&path, fs::metadata(&config)?.permissions())?;
            Ok(folder)
        };
        let folder = written().map_err(|error| unwritten(output, &error))?;
        Ok(WholeFolder { output, folder })
    }
}

impl WholeFolder<'_> {
    /// Puts it in its place.
    ///
    /// # Errors
    /// When that cannot be done.
    pub(super) fn publish(self) -> Result<(), Fatal> {
        let Self { output, folder } = self;
        fs::rename(folder.path(), output).map_err(|error| unwritten(output, &error))?;
        // Nothing of that name is left to remove.
        let _ = folder.keep();
        Ok(())
    }
}

fn unwritten(output: &Path, error: &dyn Display) -> Fatal {
    Fatal::usage(format!("--output {}: {error}", output.display()))
}

/// A folder beside the output.
fn incoming(parent: &Path) -> std::io::Result<TempDir> {
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
    changed: &[(String, Tensor)],
    path: &Path,
) -> Result<(), Box<dyn std::error::Error>> {
    let changed: HashMap<_, _> = changed.iter().map(|(name, tensor)| (&**name, tensor)).collect();
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
