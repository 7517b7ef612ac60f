use std::path::{Path, PathBuf};

use crate::WeightsError;

/// Where a part's weights lie.
#[derive(Debug, PartialEq)]
pub(crate) enum Location {
    /// One file.
    Single(PathBuf),
    /// An index beside its shards.
    Sharded(PathBuf),
}

/// Finds `STEM.safetensors` or `STEM.safetensors.index.json` in a folder, or else the same in the fp16 variant's names.
///
/// # Errors
/// [`WeightsError::NotFound`], [`WeightsError::Ambiguous`] when a single file and an index stand side by side.
pub(crate) fn locate(dir: &Path, stem: &str) -> Result<Location, WeightsError> {
    for (single, index) in [
        (format!("{stem}.safetensors"), format!("{stem}.safetensors.index.json")),
        (format!("{stem}.fp16.safetensors"), format!("{stem}.safetensors.index.fp16.json")),
    ] {
        match (dir.join(&single), dir.join(&index)) {
            (file, shards) if file.exists() && shards.exists() => {
                let dir = dir.to_path_buf();
                return Err(WeightsError::Ambiguous { dir, first: single, second: index });
            }
            (file, _) if file.exists() => return Ok(Location::Single(file)),
            (_, shards) if shards.exists() => return Ok(Location::Sharded(shards)),
            _ => {}
        }
    }
    let expected = format!("{stem}.safetensors or {stem}.safetensors.index.json");
    Err(WeightsError::NotFound { dir: dir.to_path_buf(), expected, pickle: pickle(dir, stem) })
}

fn pickle(dir: &Path, stem: &str) -> Option<String> {
    let names = [
        format!("{stem}.bin"),
        format!("{stem}.bin.index.json"),
        format!("pytorch_{stem}.bin"),
        format!("pytorch_{stem}.bin.index.json"),
    ];
    names.into_iter().find(|name| dir.join(name).exists())
}
