use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{self, Read},
    path::{Component, Path, PathBuf},
};

use serde::Deserialize;

use crate::WeightsError;

/// Indexes of the published models are below 100 KB.
const LIMIT: u64 = 64 << 20;

/// `*.safetensors.index.json`: which shard holds which tensor.
pub(crate) struct Index {
    /// From a tensor's name to its shard's file name.
    pub(crate) weight_map: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct RawIndex {
    // `metadata.total_size` is not compared: writers count tied tensors differently, and the shards' own headers say it.
    weight_map: BTreeMap<String, String>,
}

impl Index {
    /// Reads an index.
    ///
    /// # Errors
    /// [`WeightsError::Index`] when it is not JSON of the known form, names no shard, or names one that is not a plain
    /// file name: nothing outside the index's own folder is ever opened.
    pub(crate) fn read(path: &Path) -> Result<Self, WeightsError> {
        let error = |source| WeightsError::Read { path: path.to_path_buf(), source };
        // Asked before opening: opening a pipe would wait for its writer.
        if !std::fs::metadata(path).map_err(error)?.is_file() {
            return Err(error(io::Error::other("not a regular file")));
        }
        let mut text = Vec::new();
        let file = File::open(path).map_err(error)?;
        file.take(LIMIT + 1).read_to_end(&mut text).map_err(error)?;
        if text.len() as u64 > LIMIT {
            return Err(malformed(path, format_args!("an index of at most {LIMIT} bytes"), "more"));
        }
        Self::parse(path, &text)
    }

    pub(crate) fn parse(path: &Path, text: &[u8]) -> Result<Self, WeightsError> {
        let RawIndex { weight_map } = serde_json::from_slice(text)
            .map_err(|error| malformed(path, "JSON with a `weight_map` of shards", error))?;
        if weight_map.is_empty() {
            return Err(malformed(path, "a `weight_map` with at least one tensor", "none"));
        }
        if let Some(shard) = weight_map.values().find(|shard| !is_plain(shard)) {
            let expected = "shards by plain file names ending in .safetensors";
            return Err(malformed(path, expected, format_args!("{shard:?}")));
        }
        Ok(Self { weight_map })
    }

    /// The shards' paths, each once, in the order of their names.
    ///
    /// # Errors
    /// [`WeightsError::Index`] when one is not there; `path` is the index's own.
    pub(crate) fn shard_paths(
        &self,
        dir: &Path,
        path: &Path,
    ) -> Result<Vec<PathBuf>, WeightsError> {
        let names: BTreeSet<&str> = self.weight_map.values().map(String::as_str).collect();
        let shards: Vec<PathBuf> = names.into_iter().map(|shard| dir.join(shard)).collect();
        match shards.iter().find(|shard| !shard.exists()) {
            Some(shard) => {
                Err(malformed(path, format_args!("shard {}", shard.display()), "no such file"))
            }
            None => Ok(shards),
        }
    }
}

pub(crate) fn malformed(
    path: &Path,
    expected: impl std::fmt::Display,
    found: impl std::fmt::Display,
) -> WeightsError {
    WeightsError::Index {
        path: path.to_path_buf(),
        expected: expected.to_string(),
        found: found.to_string(),
    }
}

/// A name that stays within the folder on every system.
fn is_plain(shard: &str) -> bool {
    let mut components = Path::new(shard).components();
    let one =
        matches!(components.next(), Some(Component::Normal(_))) && components.next().is_none();
    one && shard.ends_with(".safetensors") && !shard.contains(['/', '\\', ':', '\0'])
}
