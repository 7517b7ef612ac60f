mod name;

use std::fs::{self, File, Permissions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use cogwheel_lora::VariantId;
use cogwheel_tensor::{DType, Tensor};
use cogwheel_weights::{Weights, WeightsError};
use safetensors::tensor::{Dtype, TensorView};

use name::FileName;

/// Changed tensors of variants on disk, so that a restart does not merge them again. A file's name says what it must hold:
/// it is written in a folder of its own, moved when it is whole, and digested before it is used. Several processes may use
/// one cache, and what else lies in its folder is let be.
#[derive(Clone, Debug)]
pub struct VariantCache {
    folder: PathBuf,
    byte_limit: u64,
    dtype: DType,
}

/// How the names of folders begin in which files are written.
const PARTIAL: &str = ".cogwheel-partial-";
/// After which what a writer left there is nobody's any more.
const STALE: Duration = Duration::from_secs(24 * 60 * 60);

/// Why a variant was not put into a cache.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The disk.
    #[error(transparent)]
    Disk(#[from] io::Error),
    /// The tensors make no file.
    #[error(transparent)]
    File(#[from] safetensors::SafeTensorError),
    /// The file that was written cannot be read.
    #[error(transparent)]
    Weights(#[from] WeightsError),
}

impl VariantCache {
    /// A cache of up to `byte_limit` bytes of tensors in `dtype`; makes the folder if there is none.
    ///
    /// # Errors
    /// When it is no folder to write in.
    pub fn new(folder: PathBuf, byte_limit: u64, dtype: DType) -> io::Result<Self> {
        fs::create_dir_all(&folder)?;
        tempfile::tempfile_in(&folder)?;
        Ok(Self { folder, byte_limit, dtype })
    }

    /// The tensors of a variant, if the cache has these, whole and unaltered. What is damaged is removed.
    pub(super) fn read(&self, id: &VariantId, names: &[String]) -> Option<Weights> {
        let path = self.find(id)?;
        let damaged = match Weights::open_file(&path) {
            Ok(tensors) if self.file_name(id, &tensors).is_of(&path) => {
                // What is used is not removed before what is not.
                let touched = File::options().append(true).open(&path);
                let _ = touched.and_then(|file| file.set_modified(SystemTime::now()));
                if tensors.names().eq(names.iter().map(String::as_str)) {
                    return Some(tensors);
                }
                "expected the tensors that the adapters change, found others".to_owned()
            }
            Ok(_) => "expected the digest that its name says, found another".to_owned(),
            // It may be sound for whoever may read it.
            Err(WeightsError::Read { source, .. }) => {
                tracing::warn!(variant = %id, error = %source, "a file of the variant cache cannot be read");
                return None;
            }
            Err(error) => error.to_string(),
        };
        tracing::warn!(variant = %id, damaged, "a file of the variant cache is removed");
        let _ = fs::remove_file(path);
        None
    }

    /// Puts a variant's tensors there, in the order of their names.
    ///
    /// # Errors
    /// What keeps them from being written.
    pub fn write(&self, id: &VariantId, tensors: &[(String, Tensor)]) -> Result<(), CacheError> {
        let views = tensors.iter().map(|(name, tensor)| {
            let dtype = match tensor.dtype() {
                DType::F16 => Dtype::F16,
                DType::BF16 => Dtype::BF16,
                _ => Dtype::F32,
            };
            Ok((name.as_str(), TensorView::new(dtype, tensor.shape().to_vec(), tensor.bytes())?))
        });
        let views = views.collect::<Result<Vec<_>, CacheError>>()?;
        let place = tempfile::Builder::new().prefix(PARTIAL).tempdir_in(&self.folder)?;
        let path = place.path().join("tensors");
        safetensors::serialize_to_file(views, None, &path)?;
        open_to_all(&path)?;
        // What is named whole must be whole also after a loss of power.
        File::open(&path)?.sync_all()?;
        let name = self.file_name(id, &Weights::open_file(&path)?);
        fs::rename(&path, self.folder.join(name.to_string()))?;
        drop(place);
        Ok(self.shrink(id)?)
    }

    /// Removes what was not used the longest until the limit holds, and what crashed writers left.
    fn shrink(&self, newest: &VariantId) -> io::Result<()> {
        let (mut others, mut bytes) = (Vec::new(), 0);
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            // Another process may have removed it meanwhile.
            let Ok(metadata) = entry.metadata() else { continue };
            let used = metadata.modified()?;
            if name.starts_with(PARTIAL) && used.elapsed().unwrap_or_default() > STALE {
                let _ = fs::remove_dir_all(entry.path());
            } else if let Some(name) = FileName::parse(&name) {
                bytes += metadata.len();
                if !(name.id == newest.to_string() && name.dtype == self.dtype.name()) {
                    others.push((used, metadata.len(), entry.path()));
                }
            }
        }
        others.sort();
        for (_, length, path) in others {
            if bytes <= self.byte_limit {
                break;
            }
            let _ = fs::remove_file(path);
            bytes -= length;
        }
        Ok(())
    }

    fn find(&self, id: &VariantId) -> Option<PathBuf> {
        let entries = fs::read_dir(&self.folder).ok()?;
        let is_it = |path: &PathBuf| {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
            let name = name.as_deref().and_then(FileName::parse);
            name.is_some_and(|name| name.id == id.to_string() && name.dtype == self.dtype.name())
        };
        entries.filter_map(|entry| Some(entry.ok()?.path())).find(is_it)
    }

    fn file_name(&self, id: &VariantId, tensors: &Weights) -> FileName {
        FileName {
            id: id.to_string(),
            dtype: self.dtype.name().to_owned(),
            digest: tensors.digest().to_string(),
        }
    }
}

/// As a file is that no library made for itself alone: other users' processes may use the cache too.
fn open_to_all(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(path, Permissions::from_mode(0o644))?;
    }
    #[cfg(not(unix))]
    let _: Option<Permissions> = path.metadata().ok().map(|metadata| metadata.permissions());
    Ok(())
}

#[cfg(test)]
mod tests;
