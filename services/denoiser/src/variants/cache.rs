use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use cogwheel_lora::VariantId;
use cogwheel_tensor::{DType, Storage, Tensor};
use cogwheel_weights::Weights;
use safetensors::tensor::{Dtype, TensorView};

use super::VariantError;

/// Changed tensors of variants on disk, so that a restart does not merge them again. The file
/// `VARIANT-DTYPE-DIGEST.safetensors` says in its name what it must hold: it is written under another name, renamed when
/// it is whole, and digested before it is used. Several processes may use one folder.
#[derive(Clone, Debug)]
pub(super) struct VariantCache {
    folder: PathBuf,
    byte_limit: u64,
    dtype: DType,
}

const ENDING: &str = ".safetensors";

impl VariantCache {
    pub(super) fn new(
        folder: PathBuf,
        byte_limit: u64,
        storage: Storage,
    ) -> Result<Self, VariantError> {
        if let Err(source) =
            fs::create_dir_all(&folder).and_then(|()| tempfile::tempfile_in(&folder))
        {
            return Err(VariantError::Cache { folder, source });
        }
        Ok(Self { folder, byte_limit, dtype: storage.dtype() })
    }

    /// The tensors of a variant, if the cache has them whole and unaltered.
    pub(super) fn read(&self, id: &VariantId) -> Option<Weights> {
        let path = self.find(id)?;
        match self.verified(id, &path) {
            Ok(tensors) => {
                // What is used is not removed before what is not.
                let now = File::options().append(true).open(&path);
                let _ = now.and_then(|file| file.set_modified(SystemTime::now()));
                Some(tensors)
            }
            Err(reason) => {
                self.distrust(id, &reason);
                None
            }
        }
    }

    /// Removes what should be a variant's tensors and is not.
    pub(super) fn distrust(&self, id: &VariantId, reason: &str) {
        tracing::warn!(variant = %id, reason, "a file of the variant cache is not used and removed");
        if let Some(path) = self.find(id) {
            let _ = fs::remove_file(path);
        }
    }

    /// Puts a variant's tensors there. What keeps it from being written is told in the log and no more: the variant is
    /// there all the same.
    pub(super) fn write(&self, id: &VariantId, tensors: &[(String, Tensor)]) {
        if let Err(error) = self.try_write(id, tensors) {
            tracing::warn!(variant = %id, error, "the variant is not kept in the cache");
        }
    }

    fn try_write(&self, id: &VariantId, tensors: &[(String, Tensor)]) -> Result<(), String> {
        let views = tensors.iter().map(|(name, tensor)| {
            let dtype = match tensor.dtype() {
                DType::F16 => Dtype::F16,
                DType::BF16 => Dtype::BF16,
                _ => Dtype::F32,
            };
            let view = TensorView::new(dtype, tensor.shape().to_vec(), tensor.bytes());
            Ok((name.as_str(), view.map_err(|error| error.to_string())?))
        });
        let views = views.collect::<Result<Vec<_>, String>>()?;
        let said = |error: io::Error| error.to_string();
        let file =
            tempfile::Builder::new().suffix(".partial").tempfile_in(&self.folder).map_err(said)?;
        safetensors::serialize_to_file(views, None, file.path())
            .map_err(|error| error.to_string())?;
        // What is named whole must be whole also after a loss of power.
        File::open(file.path()).and_then(|file| file.sync_all()).map_err(said)?;
        let digest = Weights::open_file(file.path()).map_err(|error| error.to_string())?.digest();
        let name = format!("{id}-{}-{digest}{ENDING}", self.dtype);
        file.persist(self.folder.join(name)).map_err(|error| error.to_string())?;
        self.shrink(id).map_err(said)
    }

    /// Removes what was not used the longest until the limit holds; files of crashed writers after a day.
    fn shrink(&self, newest: &VariantId) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            // Another process may have removed it meanwhile.
            let Ok(metadata) = entry.metadata() else { continue };
            let (name, used) = (entry.file_name(), metadata.modified()?);
            let name = name.to_string_lossy();
            let age = used.elapsed().unwrap_or_default().as_secs();
            if name.ends_with(".partial") && age > 24 * 60 * 60 {
                let _ = fs::remove_file(entry.path());
            } else if name.ends_with(ENDING) && !name.starts_with(&newest.to_string()) {
                files.push((used, metadata.len(), entry.path()));
            }
        }
        files.sort();
        let newest = self.find(newest).and_then(|path| fs::metadata(path).ok());
        let mut bytes = newest.map_or(0, |metadata| metadata.len());
        bytes += files.iter().map(|(_, length, _)| length).sum::<u64>();
        for (_, length, path) in files {
            if bytes <= self.byte_limit {
                break;
            }
            let _ = fs::remove_file(path);
            bytes -= length;
        }
        Ok(())
    }

    /// The file whose name begins as the variant's does.
    fn find(&self, id: &VariantId) -> Option<PathBuf> {
        let start = self.start(id);
        let entries = fs::read_dir(&self.folder).ok()?;
        let mut paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        paths.find(|path| {
            let name = path.file_name().map(|name| name.to_string_lossy());
            name.is_some_and(|name| name.starts_with(&start) && name.ends_with(ENDING))
        })
    }

    fn verified(&self, id: &VariantId, path: &Path) -> Result<Weights, String> {
        let tensors = Weights::open_file(path).map_err(|error| error.to_string())?;
        let found = format!("{}{}{ENDING}", self.start(id), tensors.digest());
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        if name.as_deref() == Some(&found) {
            return Ok(tensors);
        }
        Err(format!("expected what its name says, found {found}"))
    }

    fn start(&self, id: &VariantId) -> String {
        format!("{id}-{}-", self.dtype)
    }
}
